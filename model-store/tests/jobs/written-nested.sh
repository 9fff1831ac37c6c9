#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
NGPU=4
ARGS="--tensor-parallel-size $NGPU --port 8000"
vllm serve meta-llama/Llama-3.1-8B-Instruct $ARGS
