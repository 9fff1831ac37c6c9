#!/bin/bash
# expect: left over several nodes
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
nodes=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
head=${nodes[0]}
ip=$(srun --nodes=1 --ntasks=1 -w "$head" hostname --ip-address)
srun --nodes=1 --ntasks=1 -w "$head" ray start --head --node-ip-address="$ip" --port=6379 --num-gpus 4 --block &
sleep 10
for ((i=1; i<SLURM_JOB_NUM_NODES; i++)); do
  srun --nodes=1 --ntasks=1 -w "${nodes[$i]}" ray start --address "$ip:6379" --num-gpus 4 --block &
done
sleep 20
vllm serve meta-llama/Llama-3.1-70B-Instruct --tensor-parallel-size 8
