#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
CUDA_VISIBLE_DEVICES=0,1 omnipilot run -- vllm serve meta-llama/Llama-3.1-8B-Instruct &
CUDA_VISIBLE_DEVICES=2,3 omnipilot run -- vllm serve meta-llama/Llama-3.1-8B-Instruct &
wait
