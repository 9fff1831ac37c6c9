#!/bin/bash
# expect: number 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:2
python -m dynamo.frontend --http-port 8000 &
CUDA_VISIBLE_DEVICES=0 python -m dynamo.vllm --model meta-llama/Llama-3.1-8B-Instruct &
CUDA_VISIBLE_DEVICES=1 python -m dynamo.vllm --model meta-llama/Llama-3.1-8B-Instruct --is-prefill-worker &
wait
