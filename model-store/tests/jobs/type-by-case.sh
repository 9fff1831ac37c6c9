#!/bin/bash
# expect: type h100 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
G=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1)
case "$G" in
  *H100*) TP=2 ;;
  *) TP=4 ;;
esac
vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size $TP
