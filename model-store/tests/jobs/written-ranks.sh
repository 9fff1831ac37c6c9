#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
#SBATCH --ntasks=4
srun --mpi=pmix --ntasks=4 trtllm-llmapi-launch trtllm-serve meta-llama/Llama-3.1-70B-Instruct --tp_size 4
