#!/bin/bash
# Ray under Slurm: one head that runs no stage, one worker per node. Submit with: sbatch slurm-ray.sh
#SBATCH --job-name=alignboard
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

export ALIGNBOARD_HOME=/shared/alignboard        # a folder that every node sees under this path
export ALIGNBOARD_DB=postgresql://board@db/board # or a path on a local disk of the node that runs this script
source /shared/venv/bin/activate                 # with alignboard[ray,postgres]; the same on every node

port=6379
head=$(hostname --ip-address | cut -d' ' -f1)
ray start --head --num-cpus 0 --num-gpus 0 --node-ip-address "$head" --port "$port" --disable-usage-stats
srun --overlap bash -c "ray start --address $head:$port --num-cpus \$((SLURM_CPUS_PER_TASK - 1)) \
    --num-gpus 4 --disable-usage-stats --block" &

# In the background, so that the shell passes the signal on: training stages then save a checkpoint.
alignboard run mbert ml-ctl ml-ctl-cz --source folder:/shared/data --base /shared/mbert --seeds 3 \
    --executor ray --address "$head:$port" --device cuda --cpus-per-stage 3 &
run=$!
trap 'kill -TERM "$run"' TERM
code=0
wait "$run" || code=$?
if kill -0 "$run" 2>/dev/null; then # the signal ended the first wait
    code=0
    wait "$run" || code=$?
fi
ray stop
if [ "$code" = 75 ]; then # stopped by the signal: continue in a new job
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
