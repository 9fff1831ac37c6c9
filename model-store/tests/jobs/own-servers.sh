#!/bin/bash
# expect: number 8
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --gpus-per-node=a100:8
for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
  srun --nodes=1 --ntasks=1 -w "$node" bash -c "
    for r in 0 1; do
      CUDA_VISIBLE_DEVICES=\$((r*4)) python server.py --tensor_parallel_size 4 &
    done; wait" &
done
wait
