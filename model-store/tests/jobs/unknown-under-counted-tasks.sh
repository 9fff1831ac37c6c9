#!/bin/bash
# expect: left GPUs
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gpus=4
#SBATCH --gpus-per-task=1
srun python serve.py
