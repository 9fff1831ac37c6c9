#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
python -m dynamo.frontend --http-port 8000 &
python3 -m dynamo.vllm --model meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 4
