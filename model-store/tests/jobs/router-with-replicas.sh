#!/bin/bash
# expect: left data-parallel replicas
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:a100:8
python -m sglang_router.launch_server --model-path meta-llama/Llama-3.1-70B-Instruct --tp 4 --dp-size 2
