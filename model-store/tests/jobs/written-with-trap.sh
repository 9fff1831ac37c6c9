#!/bin/bash
# expect: gpus 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:2
cleanup() { kill $PID; }
trap cleanup EXIT
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2 &
PID=$!
wait $PID
