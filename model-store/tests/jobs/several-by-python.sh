#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
python - <<'EOF'
import subprocess, os
for g in range(4):
    subprocess.Popen(['vllm','serve','meta-llama/Llama-3.1-8B-Instruct','--port',str(8000+g)], env=dict(os.environ, CUDA_VISIBLE_DEVICES=str(g)))
EOF
wait
