#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
parallel -j 4 CUDA_VISIBLE_DEVICES={} vllm serve meta-llama/Llama-3.1-8B-Instruct --port 800{} ::: 0 1 2 3
