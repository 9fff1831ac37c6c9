#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
export CUDA_VISIBLE_DEVICES=2
vllm serve meta-llama/Llama-3.1-8B-Instruct
