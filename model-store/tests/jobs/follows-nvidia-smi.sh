#!/bin/bash
# expect: free
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
TP=$(nvidia-smi -L | wc -l)
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp "$TP"
