#!/bin/bash
# expect: number 8
# model: meta-llama/Llama-3.1-70B-Instruct
#SBATCH --gres=gpu:h100:8
python -m sglang.launch_server --model-path meta-llama/Llama-3.1-70B-Instruct --tp 4 --disaggregation-mode prefill --port 30000 &
python -m sglang.launch_server --model-path meta-llama/Llama-3.1-70B-Instruct --tp 4 --disaggregation-mode decode --base-gpu-id 4 --port 30001 &
python -m sglang_router.launch_router --pd-disaggregation --prefill http://127.0.0.1:30000 --decode http://127.0.0.1:30001
wait
