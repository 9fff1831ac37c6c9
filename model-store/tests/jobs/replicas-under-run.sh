#!/bin/bash
# expect: left data-parallel replicas
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:a100:4
omnipilot run -- vllm serve meta-llama/Llama-3.1-70B-Instruct --data-parallel-size 2 -tp 2
