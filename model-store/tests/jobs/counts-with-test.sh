#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
[ "$SLURM_GPUS_ON_NODE" -eq 4 ] || { echo 'need 4 GPUs'; exit 1; }
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size $SLURM_GPUS_ON_NODE
