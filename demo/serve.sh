#!/bin/bash
#SBATCH --job-name=serve
#SBATCH --output=serve-%j.out
#SBATCH --gres=gpu:a100:8
# What a user would write: eight A100 by habit, and the engine under `omnipilot run`. In the demo `vllm` is a stand-in that
# serves for seconds only, so it is measured at shorter intervals than a real engine.
omnipilot run --interval 0.5 --warmup 1 -- vllm serve "$SLURM_LLM_MODEL" --port "$((20000 + SLURM_JOB_ID % 10000))"
