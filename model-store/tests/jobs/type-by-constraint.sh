#!/bin/bash
# expect: type h100 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:4
#SBATCH --constraint=h100
nvidia-smi -L | grep -q H100 || exit 1
vllm serve meta-llama/Llama-3.1-70B-Instruct --max-model-len 4096 -tp 4
