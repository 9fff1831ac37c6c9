#!/bin/bash
# expect: number 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:2
docker run -d --gpus '"device=0"' -p 8000:8000 vllm/vllm-openai --model meta-llama/Llama-3.1-8B-Instruct
docker run -d --gpus '"device=1"' -p 8001:8000 vllm/vllm-openai --model meta-llama/Llama-3.1-8B-Instruct
sleep 1d
