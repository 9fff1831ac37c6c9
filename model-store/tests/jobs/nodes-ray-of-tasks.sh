#!/bin/bash
# expect: left over several nodes
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --ntasks=2
#SBATCH --gpus-per-task=8
srun ray start --address "$HEAD:6379" --block &
sleep 30
vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 16
