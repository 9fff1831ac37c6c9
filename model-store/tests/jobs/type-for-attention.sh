#!/bin/bash
# expect: type h100 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:2
export VLLM_FLASH_ATTN_VERSION=3
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2
