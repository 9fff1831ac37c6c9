#!/bin/bash
# expect: number 2
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=2
cat > w.sh <<'E'
if [ $SLURM_PROCID -eq 0 ]; then vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 2; else python client.py; fi
E
srun bash w.sh
