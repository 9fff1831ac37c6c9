#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
#SBATCH --ntasks=2
srun -n1 vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2 : -n1 vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2 --port 8001
