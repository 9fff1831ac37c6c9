#!/bin/bash
# expect: number 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:2
CUDA_VISIBLE_DEVICES=0 vllm serve meta-llama/Llama-3.1-8B-Instruct --port 8000 &
CUDA_VISIBLE_DEVICES=1 vllm serve BAAI/bge-m3 --task embed --port 8001 &
wait
