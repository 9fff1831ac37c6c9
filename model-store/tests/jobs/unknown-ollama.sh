#!/bin/bash
# expect: number 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:2
ollama serve >> log 2>&1 &
sleep 5
ollama run llama3.1:8b hi
