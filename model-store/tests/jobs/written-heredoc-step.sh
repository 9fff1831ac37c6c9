#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:4
srun -n1 bash -s <<'EOF'
export A=1
vllm serve meta-llama/Llama-3.1-70B-Instruct --max-model-len 4096 -tp 4
EOF
