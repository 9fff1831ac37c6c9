#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
srun --ntasks=1 python -c "from vllm import LLM; LLM('meta-llama/Llama-3.1-70B-Instruct', tensor_parallel_size=4).generate('x')"
