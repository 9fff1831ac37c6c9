#!/bin/bash
# expect: type h100 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
if ! nvidia-smi -L | grep -q 'H100'; then exit 1; fi
vllm serve meta-llama/Llama-3.1-70B-Instruct --max-model-len 4096 -tp 4
