#!/bin/bash
# expect: left each task
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gpus=4
#SBATCH --gpus-per-task=1
srun bash -c 'vllm serve meta-llama/Llama-3.1-8B-Instruct --port $((8000 + SLURM_PROCID))'
