#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
[[ $SLURM_GPUS_ON_NODE == 4 ]] || exit 1
omnipilot run -- vllm serve meta-llama/Llama-3.1-8B-Instruct
