#!/bin/bash
# expect: left --constraint=gpu80
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:4
#SBATCH --constraint=gpu80
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 4
