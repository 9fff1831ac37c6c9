#!/bin/bash
# expect: number 8
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:8
python -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B-Instruct --tp 4 --base-gpu-id 4
