#!/bin/bash
# expect: free
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
[ -z "$CUDA_VISIBLE_DEVICES" ] && exit 1
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size $SLURM_GPUS_ON_NODE
