#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h200:4
CUDA_VISIBLE_DEVICES=0,1 vllm serve "$(cat model.txt)" -tp 2 &
CUDA_VISIBLE_DEVICES=2,3 vllm serve Qwen/Qwen2.5-7B-Instruct --port 8001 -tp 2 &
wait
