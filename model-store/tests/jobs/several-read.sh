#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
while read -r port; do
  vllm serve meta-llama/Llama-3.1-8B-Instruct --port "$port" &
done < ports.txt
wait
