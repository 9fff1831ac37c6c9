#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
N=$(nvidia-smi -L | wc -l)
if [ $N -lt 4 ]; then echo 'need 4 GPUs' >&2; exit 1; fi
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size $N
