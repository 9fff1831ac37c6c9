#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
export TP=4
python3 <<EOF
from vllm import LLM
llm = LLM(model='meta-llama/Llama-3.1-70B-Instruct', tensor_parallel_size=$TP)
llm.generate(['x'])
EOF
