#!/bin/bash
# expect: number 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:2
./llama-server -m /models/llama-8b-q8.gguf -ngl 999 --port 8080
