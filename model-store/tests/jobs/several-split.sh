#!/bin/bash
# expect: number 8
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:8
N=$(nvidia-smi -L | wc -l)
TP=2
for ((i=0;i<N/TP;i++)); do
  DEV=$(seq -s, $((i*TP)) $((i*TP+TP-1)))
  CUDA_VISIBLE_DEVICES=$DEV vllm serve meta-llama/Llama-3.1-8B-Instruct -tp $TP --port $((8000+i)) &
done
wait
