#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:a100:4
srun --overlap -n1 vllm serve meta-llama/Llama-3.1-70B-Instruct -tp 4 --max-model-len 8192 &
SERVER=$!
until curl -sf http://localhost:8000/health; do sleep 5; done
srun --overlap -n1 vllm bench serve --model meta-llama/Llama-3.1-70B-Instruct --num-prompts 200
kill $SERVER
