#!/bin/bash
# expect: left each task
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --nodes=1
#SBATCH --ntasks=4
#SBATCH --gpus-per-task=1
srun --gpu-bind=single:1 bash -c 'vllm serve meta-llama/Llama-3.1-8B-Instruct'
