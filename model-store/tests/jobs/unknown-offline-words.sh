#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
python - <<'EOF'
from vllm import LLM
kw = dict(tensor_parallel_size=4)
llm = LLM(model='meta-llama/Llama-3.1-8B-Instruct', **kw)
EOF
