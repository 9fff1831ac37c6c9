#!/bin/bash
# expect: number 8
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:8
CUDA_VISIBLE_DEVICES=0,1,2,3 vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 4 --port 1 &
CUDA_VISIBLE_DEVICES=4,5,6,7 vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 4 --port 2 &
wait
