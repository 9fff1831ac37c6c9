#!/bin/bash
# expect: left several engines
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
for TP in 1 2 4; do
  vllm serve meta-llama/Llama-3.1-8B-Instruct -tp $TP --port 8000 &
  PID=$!
  sleep 120
  vllm bench serve --model meta-llama/Llama-3.1-8B-Instruct
  kill $PID; wait $PID
done
