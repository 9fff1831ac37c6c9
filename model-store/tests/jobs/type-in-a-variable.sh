#!/bin/bash
# expect: type h100 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
GPU=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n1)
[[ $GPU == *H100* ]] || exit 1
vllm serve meta-llama/Llama-3.1-70B-Instruct --max-model-len 4096 -tp 4
