#!/bin/bash
#SBATCH --job-name=magnet
#SBATCH --ntasks=1
#SBATCH --time=01:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=magnet-%j.log

# Two minutes before the hour is over SLURM sends SIGUSR1 to what srun has started. The simulation
# finishes its step, stores a checkpoint and ends with 75; this script then requeues the job, and
# the simulation goes on. It needs to be submitted once.

# SIGTERM comes when SLURM itself ends the job: it was cancelled, or preempted and SLURM requeues
# it. The shell notes that and waits for the simulation. (What is ignored by "trap ''" would be
# ignored in the simulation, too.)
ended=no
trap 'ended=yes' TERM

srun python simulate.py "$@"
status=$?

if [ "$status" -eq 75 ] && [ "$ended" = no ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
