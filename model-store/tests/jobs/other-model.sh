#!/bin/bash
# expect: refused 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h200:2
vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 2
