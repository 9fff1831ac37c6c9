#!/bin/bash
# expect: free
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
vllm serve meta-llama/Llama-3.1-8B-Instruct $SLURM_LLM_ENGINE_ARGS
