#!/bin/bash
# expect: free
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
N=$(echo $CUDA_VISIBLE_DEVICES | awk -F, '{print NF}')
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp $N
