#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
seq 0 3 | xargs -P4 -I{} bash -c 'CUDA_VISIBLE_DEVICES={} vllm serve meta-llama/Llama-3.1-8B-Instruct --port 800{}'
