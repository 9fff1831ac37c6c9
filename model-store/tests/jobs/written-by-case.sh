#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
MODEL=meta-llama/Llama-3.1-70B-Instruct
case "$MODEL" in
  *70B*) TP=4 ;;
  *8B*) TP=1 ;;
  *) TP=8 ;;
esac
vllm serve "$MODEL" --tensor-parallel-size $TP --port 8000
