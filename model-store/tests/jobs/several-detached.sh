#!/bin/bash
# expect: number 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:2
setsid -f vllm serve meta-llama/Llama-3.1-8B-Instruct --port 1
vllm serve meta-llama/Llama-3.1-8B-Instruct --port 2
