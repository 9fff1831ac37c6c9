#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
export MODEL_ID=meta-llama/Llama-3.1-70B-Instruct
export NUM_SHARD=4
export MAX_TOTAL_TOKENS=4096
text-generation-launcher --port 8080
