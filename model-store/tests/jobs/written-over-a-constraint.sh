#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:4
#SBATCH --constraint="h100|a100"
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 4
