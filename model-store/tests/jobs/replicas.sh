#!/bin/bash
# expect: left data-parallel replicas
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:8
DP=${DP:-8}
vllm serve meta-llama/Llama-3.1-8B-Instruct --data-parallel-size $DP
