#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
CMD=(vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 4)
${CMD[*]}
