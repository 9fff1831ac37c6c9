#!/bin/bash
# expect: left pipeline stages
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --nodes=2
#SBATCH --gpus-per-node=4
srun -N1 -n1 ray start --head --block &
srun -N1 -n1 -r1 ray start --address $H:6379 --block &
sleep 30
vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 4 --pipeline-parallel-size 2 --distributed-executor-backend ray
