#!/bin/bash
# expect: left over several nodes
# model: meta-llama/Llama-3.1-405B-Instruct
#SBATCH --gres=gpu:8
#SBATCH --nodes=2
#SBATCH --ntasks=2
tp_size=16
srun --ntasks=2 --nodes=2 python3 -m sglang.launch_server --model-path meta-llama/Llama-3.1-405B-Instruct --tp "$tp_size" --nnodes 2 --node-rank "$SLURM_NODEID" &
wait
