#!/bin/bash
# expect: told SLURM_GPUS_PER_NODE
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gpus-per-node=4
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size ${SLURM_GPUS_PER_NODE}
