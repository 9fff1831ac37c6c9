#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:a100:4
cat > serve.yaml <<EOF
tensor-parallel-size: 4
max-model-len: 8192
EOF
vllm serve meta-llama/Llama-3.1-70B-Instruct --config serve.yaml
