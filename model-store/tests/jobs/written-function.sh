#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
serve() { vllm serve "$1" --tensor-parallel-size "$2" & }
serve meta-llama/Llama-3.1-8B-Instruct 4
wait
