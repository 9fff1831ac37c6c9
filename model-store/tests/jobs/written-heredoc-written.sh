#!/bin/bash
# expect: gpus 4
# model: meta-llama/Llama-3.1-8B-Instruct
#SBATCH --gres=gpu:a100:4
cat > $TMPDIR/serve.sh <<EOF
#!/bin/bash
vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 4
EOF
chmod +x $TMPDIR/serve.sh
srun -n1 apptainer exec --nv vllm.sif bash $TMPDIR/serve.sh
