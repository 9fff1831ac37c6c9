#!/bin/bash
# expect: free
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
omnipilot run -- vllm serve meta-llama/Llama-3.1-8B-Instruct
