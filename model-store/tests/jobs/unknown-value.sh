#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size $(cat degree)
