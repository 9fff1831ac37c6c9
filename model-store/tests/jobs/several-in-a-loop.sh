#!/bin/bash
# expect: number 8
# model: meta-llama/Llama-3.1-8B-Instruct
# arguments: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:8
for g in {0..7}; do
  CUDA_VISIBLE_DEVICES=$g vllm serve "$1" --port $((10000 + g)) &
done
wait
