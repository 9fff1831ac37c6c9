#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
#SBATCH --array=0-2
TPS=(1 2 4)
TP=${TPS[$SLURM_ARRAY_TASK_ID]}
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size $TP
