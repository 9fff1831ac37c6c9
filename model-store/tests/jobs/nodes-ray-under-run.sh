#!/bin/bash
# expect: left over several nodes
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --nodes=2
#SBATCH --gpus=16
srun --ntasks-per-node=1 ray start --address "$HEAD:6379" --block &
sleep 30
omnipilot run -- vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 16
