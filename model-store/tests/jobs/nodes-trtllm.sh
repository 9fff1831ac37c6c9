#!/bin/bash
# expect: left over several nodes
# model: meta-llama/Llama-3.1-405B-Instruct
#SBATCH --gres=gpu:8
#SBATCH -N 2
#SBATCH --ntasks-per-node=8
srun -l --mpi=pmix bash -c "
  trtllm-llmapi-launch trtllm-serve $LOCAL_MODEL --tp_size 16 --backend pytorch"
