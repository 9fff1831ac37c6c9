#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
# arguments: --tp-size 4
#SBATCH --gres=gpu:4
export TP_SIZE=1
while [[ $# -gt 0 ]]; do
case "$1" in
  --tp-size) export TP_SIZE="$2"; shift; shift;;
  *) shift;;
esac
done
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size $TP_SIZE
