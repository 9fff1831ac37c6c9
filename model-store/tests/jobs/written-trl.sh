#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
trl vllm-serve --model meta-llama/Llama-3.1-8B-Instruct --tensor_parallel_size 4
