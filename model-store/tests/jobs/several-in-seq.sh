#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
for gpu in $(seq 0 3); do
  CUDA_VISIBLE_DEVICES=$gpu nohup vllm serve meta-llama/Llama-3.1-8B-Instruct >log.$gpu 2>&1 &
done
wait
