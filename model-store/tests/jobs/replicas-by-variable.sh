#!/bin/bash
# expect: left data-parallel replicas
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
export VLLM_DP_SIZE=4
vllm serve meta-llama/Llama-3.1-8B-Instruct
