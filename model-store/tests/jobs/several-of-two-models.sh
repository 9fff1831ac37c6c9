#!/bin/bash
# expect: left several engines
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
export CUDA_VISIBLE_DEVICES=0
vllm serve meta-llama/Llama-3.1-8B-Instruct &
export CUDA_VISIBLE_DEVICES=1
vllm serve Qwen/Qwen2.5-7B-Instruct &
wait
