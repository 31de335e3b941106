#!/bin/bash
# One large training on all GPUs of two nodes. Submit with: sbatch slurm-torchrun.sh
#SBATCH --job-name=alignboard-large
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
set -euo pipefail

export ALIGNBOARD_HOME=/shared/alignboard        # a folder that every node sees under this path
export ALIGNBOARD_DB=postgresql://board@db/board # or a path on a local disk of the first node
source /shared/venv/bin/activate

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc-per-node 8 --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-endpoint "$head:29500" \
    -m harness.cli run ml-ctl --source folder:/shared/data --base /shared/xlmr-large --seeds 1 \
    --set align.batch_size=256
