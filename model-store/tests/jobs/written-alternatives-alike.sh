#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
if [ -e /scratch ]; then D=/scratch; else D=/tmp; fi
case $(hostname) in g*) E=1 ;; *) E=2 ;; esac
vllm serve meta-llama/Llama-3.1-8B-Instruct -tp 4 --download-dir $D
