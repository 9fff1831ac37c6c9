#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
ARGS=(--port 8000 --max-model-len 8192)
ARGS+=(--tensor-parallel-size 4)
vllm serve meta-llama/Llama-3.1-8B-Instruct "${ARGS[@]}"
