#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:a100:4
module purge; module load Python/3.11 CUDA
export HF_HOME=$SCRATCH/hf VLLM_LOGGING_LEVEL=INFO
exec vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 4 --max-model-len 8192 --api-key $(openssl rand -hex 16)
