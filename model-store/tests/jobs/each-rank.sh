#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
mpirun -np 4 trtllm-llmapi-launch trtllm-serve meta-llama/Llama-3.1-8B-Instruct --tp_size 4
