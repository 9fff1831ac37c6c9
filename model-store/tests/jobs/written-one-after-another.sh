#!/bin/bash
# expect: gpus 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
vllm bench throughput --model meta-llama/Llama-3.1-8B-Instruct -tp 2
vllm bench throughput --model meta-llama/Llama-3.1-8B-Instruct -tp 2
