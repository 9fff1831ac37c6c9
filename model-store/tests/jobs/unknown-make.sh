#!/bin/bash
# expect: number 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:2
make serve TP=2
