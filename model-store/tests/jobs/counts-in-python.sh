#!/bin/bash
# expect: number 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:h100:4
python - <<'EOF'
import torch
from vllm import LLM
assert torch.cuda.device_count() == 4
LLM('meta-llama/Llama-3.1-8B-Instruct', tensor_parallel_size=torch.cuda.device_count())
EOF
