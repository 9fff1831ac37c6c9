#!/bin/bash
# expect: gpus 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2 &
sleep 60
python files/client.py
