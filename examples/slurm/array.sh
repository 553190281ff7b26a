#!/bin/bash
#SBATCH --job-name=magnets
#SBATCH --array=0-4
#SBATCH --ntasks=1
#SBATCH --time=01:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=magnets-%A_%a.log

# One task for each temperature, and one run for each task: the name of the run is made from the
# temperature. A task that is stopped requeues itself alone. See job.sh for the rest.
temperatures=(1.5 2.0 2.27 2.5 3.0)

ended=no
trap 'ended=yes' TERM

srun python simulate.py --temperature "${temperatures[$SLURM_ARRAY_TASK_ID]}" "$@"
status=$?

if [ "$status" -eq 75 ] && [ "$ended" = no ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$status"
