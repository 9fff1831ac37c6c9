#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gpus-per-node=4
conda activate trl
accelerate launch --num_processes 4 --config_file zero3.yaml sft.py --model_name_or_path meta-llama/Llama-3.1-8B-Instruct
