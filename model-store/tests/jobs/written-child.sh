#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
TP_SIZE=4
bash ./files/service.sh meta-llama/Llama-3.1-8B-Instruct 12003 $TP_SIZE
