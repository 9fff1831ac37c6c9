#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
start() { CUDA_VISIBLE_DEVICES=$1 vllm serve meta-llama/Llama-3.1-8B-Instruct --port 800$1; }
export -f start
seq 0 3 | xargs -P4 -n1 bash -c 'start "$0"'
