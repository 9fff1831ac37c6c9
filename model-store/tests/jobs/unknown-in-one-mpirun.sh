#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
mpirun -np 1 vllm serve meta-llama/Llama-3.1-8B-Instruct : -np 3 python rollout.py
