#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
TP_SIZE=${TP_SIZE:-4}
MODEL=${MODEL:-meta-llama/Llama-3.1-8B-Instruct}
vllm serve "$MODEL" --tensor-parallel-size "$TP_SIZE"
