#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
lmdeploy serve api_server meta-llama/Llama-3.1-8B-Instruct --tp 4
