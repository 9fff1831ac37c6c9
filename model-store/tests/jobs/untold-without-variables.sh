#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
env -i PATH=$PATH omnipilot run -- vllm serve meta-llama/Llama-3.1-70B-Instruct --max-model-len 4096
