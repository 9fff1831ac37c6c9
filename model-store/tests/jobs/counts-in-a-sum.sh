#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
N=$(nvidia-smi -L | wc -l)
if (( N < 4 )); then exit 1; fi
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size $N
