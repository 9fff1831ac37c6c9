#!/bin/bash
# expect: left data-parallel replicas
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:8
python3 -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B-Instruct --dp 8 --port 30000 --host 0.0.0.0
