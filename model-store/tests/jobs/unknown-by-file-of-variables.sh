#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
#SBATCH --export-file=/scratch/job.env
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp ${TP:-1}
