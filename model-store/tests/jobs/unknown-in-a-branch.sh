#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
TP=1
if grep -q big /etc/hostname; then TP=4; fi
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp $TP
