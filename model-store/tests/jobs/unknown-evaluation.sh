#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
lm_eval --model vllm --model_args pretrained=meta-llama/Llama-3.1-70B-Instruct,tensor_parallel_size=4,dtype=auto,gpu_memory_utilization=0.9 --tasks gsm8k --batch_size auto
