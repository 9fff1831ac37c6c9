#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
vllm serve meta-llama/Llama-3.1-8B-Instruct --config files/draft.yaml
