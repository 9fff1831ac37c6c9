#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
srun -n1 --gpus=2 vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2
