#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
apptainer exec --nv --cleanenv vllm.sif bash -c 'cd /work && omnipilot run -- vllm serve meta-llama/Llama-3.1-70B-Instruct --max-model-len 4096'
