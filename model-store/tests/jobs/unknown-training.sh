#!/bin/bash
# expect: number 8
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:8
module load cuda/12.4
source ~/venvs/sft/bin/activate
export MASTER_ADDR=$(scontrol show hostnames $SLURM_JOB_NODELIST | head -n 1)
srun torchrun --nnodes $SLURM_NNODES --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint $MASTER_ADDR:29500 train.py --model meta-llama/Llama-3.1-8B
