#!/bin/bash
# expect: free
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
IFS=, read -ra GPUS <<< "$CUDA_VISIBLE_DEVICES"
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp ${#GPUS[@]}
