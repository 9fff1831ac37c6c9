#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
source files/model.env
vllm serve $MODEL --tensor-parallel-size $TP
