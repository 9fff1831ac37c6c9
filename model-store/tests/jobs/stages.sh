#!/bin/bash
# expect: left pipeline stages
# model: meta-llama/Llama-3.1-405B-Instruct
#SBATCH --gres=gpu:h100:8
#SBATCH -N 2
N=$SLURM_JOB_NUM_NODES
srun -N1 -n1 ray start --head --block &
vllm serve meta-llama/Llama-3.1-405B-Instruct --tensor-parallel-size 8 --pipeline-parallel-size $N
