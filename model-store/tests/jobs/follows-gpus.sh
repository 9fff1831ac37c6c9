#!/bin/bash
# expect: told SLURM_GPUS
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gpus=4
#SBATCH --nodes=1
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size ${SLURM_GPUS}
