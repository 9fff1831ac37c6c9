#!/bin/bash
# expect: left pipeline stages
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --nodes=2
#SBATCH --tasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --gpus-per-task=2
ray start --head --num-cpus "${SLURM_CPUS_PER_TASK}" --num-gpus "${SLURM_GPUS_PER_TASK}" --block &
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2 --pipeline-parallel-size $SLURM_JOB_NUM_NODES
