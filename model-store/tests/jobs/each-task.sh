#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=4
srun bash -c 'CUDA_VISIBLE_DEVICES=$SLURM_LOCALID vllm serve meta-llama/Llama-3.1-8B-Instruct'
