#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
start() { CUDA_VISIBLE_DEVICES=$1 vllm serve meta-llama/Llama-3.1-8B-Instruct --port $((8000+$1)); }
for i in 0 1 2 3; do start $i & done
wait
