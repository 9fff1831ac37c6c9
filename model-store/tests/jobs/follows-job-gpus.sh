#!/bin/bash
# expect: free
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
N=$(echo $SLURM_JOB_GPUS | tr ',' '\n' | wc -l)
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp $N
