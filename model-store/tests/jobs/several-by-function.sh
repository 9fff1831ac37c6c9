#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
go() { CUDA_VISIBLE_DEVICES=$1 vllm serve meta-llama/Llama-3.1-8B-Instruct & }
go 0
go 1
go 2
go 3
wait
