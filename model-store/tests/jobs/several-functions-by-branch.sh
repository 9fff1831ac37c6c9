#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
if [ -e /scratch/small ]; then
  serve() { vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 1; }
else
  serve() { vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 4; }
fi
serve
