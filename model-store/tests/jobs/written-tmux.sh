#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
tmux new-session -d -s s "vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 4"
sleep infinity
