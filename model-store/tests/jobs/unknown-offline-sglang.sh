#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
python - <<'EOF'
import sglang as sgl
llm = sgl.Engine(model_path='meta-llama/Llama-3.1-8B-Instruct', tp_size=4)
EOF
