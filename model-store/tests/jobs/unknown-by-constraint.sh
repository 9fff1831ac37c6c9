#!/bin/bash
# expect: type h200 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gpus-per-node=4
#SBATCH --constraint=h200
python judge.py --shards 4
