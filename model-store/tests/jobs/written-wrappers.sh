#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
exec env A=b timeout 3600 nohup numactl -N 0 uv run vllm serve meta-llama/Llama-3.1-8B-Instruct -tp=4
