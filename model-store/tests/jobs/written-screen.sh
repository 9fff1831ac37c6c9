#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
screen -dmS srv bash -c 'vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 4 --max-model-len 4096'
sleep infinity
