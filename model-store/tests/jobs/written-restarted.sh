#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
while true; do
  vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 4 --max-model-len 4096
  sleep 10
done
