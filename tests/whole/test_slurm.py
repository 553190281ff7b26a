"""The SLURM recipes of the examples, run by bash, with stand-ins for SLURM.

The stand-ins do what SLURM does to a job: ``srun`` starts the simulation, the test sends the
signals, ``scontrol requeue`` is noted down, and the job is then run again in the same directory.
What SLURM itself sends when it ends a job, as it does at the end of the time or for scancel, goes
to the simulation and to the shell alike: SIGCONT and SIGTERM.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "slurm"
STEPS = "120"
RESUMED = " resumed at step |: no step was stored yet"

STAND_INS = {
    "srun": '#!/bin/bash\necho $$ > srun.pid\nexec "$@"\n',
    "scontrol": '#!/bin/bash\necho "$@" >> scontrol.log\n',
    "python": f'#!/bin/bash\nexec {sys.executable} "$@"\n',
}


class Cluster:
    """A directory that jobs are submitted in, and the scheduler that runs them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.directory = directory
        shutil.copy(EXAMPLES / "simulate.py", directory)
        (directory / "bin").mkdir()
        for name, text in STAND_INS.items():
            path = directory / "bin" / name
            path.write_text(text)
            path.chmod(0o700)

    @property
    def requeued(self) -> list[str]:
        """What `scontrol` was asked for."""
        log = self.directory / "scontrol.log"
        return log.read_text().splitlines() if log.exists() else []

    def job(
        self, script: str, environment: dict[str, str], *arguments: str
    ) -> subprocess.Popen[str]:
        """Run a job, as when its turn has come; its output is appended."""
        (self.directory / "srun.pid").unlink(missing_ok=True)
        with (self.directory / "output").open("a") as output:
            return subprocess.Popen(
                ["bash", str(EXAMPLES / script), "--steps", STEPS, *arguments],
                cwd=self.directory,
                env={
                    **os.environ,
                    "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
                    **environment,
                },
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
            )

    def has_begun(self, run: str) -> bool:
        """Whether anything of a run is stored."""
        return any(self.directory.glob(f".trax/runs/{run}/checkpoint-????????"))

    def wait_for(self, process: subprocess.Popen[str], run: str, *, begun: bool = False) -> int:
        """Wait until the simulation has its run; return its process id."""
        # A run that begins stores its first checkpoint, one that goes on says so.
        assert process.stderr is not None
        if begun:
            while not re.search(RESUMED, process.stderr.readline()):
                assert process.poll() is None
        while not self.has_begun(run):
            assert process.poll() is None
            time.sleep(0.001)
        return int((self.directory / "srun.pid").read_text())

    @property
    def output(self) -> str:
        return (self.directory / "output").read_text()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a simulation prints that nobody disturbs."""
    cluster = Cluster(tmp_path_factory.mktemp("calm") / "cluster")
    process = cluster.job("job.sh", {"SLURM_JOB_ID": "1"}, "--temperature", "2.27")
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert cluster.requeued == []
    return cluster.output


def test_a_job_requeues_itself_until_it_is_done(expected: str, tmp_path: Path) -> None:
    """A notice before the end of the time, three times; the output is the undisturbed one."""
    cluster = Cluster(tmp_path / "cluster")
    for job in range(1, 5):
        process = cluster.job("job.sh", {"SLURM_JOB_ID": "17"}, "--temperature", "2.27")
        if job < 4:
            os.kill(cluster.wait_for(process, "magnet-2.27", begun=job > 1), signal.SIGUSR1)
        errors = process.communicate()[1]
        assert process.returncode == (75 if job < 4 else 0), errors
        assert cluster.requeued == ["requeue 17"] * min(job, 3)
    assert cluster.output == expected


def test_a_job_that_slurm_ends_saves_and_does_not_requeue_itself(
    expected: str, tmp_path: Path
) -> None:
    """What was cancelled must not come back; what was preempted is requeued by SLURM."""
    cluster = Cluster(tmp_path / "cluster")
    process = cluster.job("job.sh", {"SLURM_JOB_ID": "17"}, "--temperature", "2.27")
    simulation = cluster.wait_for(process, "magnet-2.27")
    for pid in (simulation, process.pid):
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGTERM)
    errors = process.communicate()[1]
    assert process.returncode == 75, errors
    assert "magnet-2.27 stopped at step" in errors
    assert cluster.requeued == []

    process = cluster.job("job.sh", {"SLURM_JOB_ID": "18"}, "--temperature", "2.27")
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert re.search(f"magnet-2.27{RESUMED}", errors)
    assert cluster.output == expected


def test_a_job_stops_by_itself_before_its_end(expected: str, tmp_path: Path) -> None:
    """Where SLURM says when that is, no signal is needed."""
    cluster = Cluster(tmp_path / "cluster")
    environment = {"SLURM_JOB_ID": "17", "SLURM_JOB_END_TIME": str(int(time.time()) + 1000)}
    limits = (
        "import runpy; from trax.interrupts import stop_request\n"
        "stop_request.choose = lambda *_: 0.001\n"
    )
    (cluster.directory / "short.py").write_text(
        limits + "runpy.run_path('simulate.py', run_name='__main__')\n"
    )
    job = (EXAMPLES / "job.sh").read_text().replace("simulate.py", "short.py")
    (cluster.directory / "short.sh").write_text(job)
    process = cluster.job(str(cluster.directory / "short.sh"), environment, "--temperature", "2.27")
    errors = process.communicate()[1]
    assert process.returncode == 75, errors
    assert "stopped at step 1: the time limit" in errors
    assert cluster.requeued == ["requeue 17"]
    process = cluster.job("job.sh", environment, "--temperature", "2.27")
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert cluster.output == expected


def test_the_tasks_of_an_array_are_runs_of_their_own(expected: str, tmp_path: Path) -> None:
    """Each is stopped once, requeues itself alone, and ends as a job by itself would."""
    cluster = Cluster(tmp_path / "cluster")
    for task, run in (("2", "magnet-2.27"), ("0", "magnet-1.5")):
        environment = {
            "SLURM_JOB_ID": str(20 + int(task)),
            "SLURM_ARRAY_JOB_ID": "20",
            "SLURM_ARRAY_TASK_ID": task,
        }
        process = cluster.job("array.sh", environment)
        os.kill(cluster.wait_for(process, run), signal.SIGUSR1)
        errors = process.communicate()[1]
        assert process.returncode == 75, errors
        assert cluster.requeued[-1] == f"requeue 20_{task}"
        process = cluster.job("array.sh", environment)
        errors = process.communicate()[1]
        assert process.returncode == 0, errors
    assert len(cluster.requeued) == 2
    lines = cluster.output.splitlines(keepends=True)
    assert lines[0] == expected
    assert lines[1].startswith("temperature 1.5 ")


@pytest.mark.parametrize("script", ["job.sh", "array.sh"])
def test_a_recipe_asks_slurm_for_what_it_needs(script: str) -> None:
    """Each option stands where sbatch reads it, and bash finds no fault in the rest."""
    lines = (EXAMPLES / script).read_text().splitlines()
    options = [line for line in lines if line.startswith("#SBATCH ")]
    assert lines[1 : 1 + len(options)] == options
    for option in ("--signal=USR1@120", "--requeue", "--open-mode=append", "--time=01:00:00"):
        assert f"#SBATCH {option}" in options
    subprocess.run(["bash", "-n", str(EXAMPLES / script)], check=True)


def test_the_document_shows_the_recipes_as_they_are() -> None:
    """What a person copies from there is what was tested here."""
    document = (EXAMPLES.parents[1] / "docs" / "clusters.md").read_text()
    job, array = re.findall(r"^```sh\n(.*?)^```$", document, re.DOTALL | re.MULTILINE)
    lines = (EXAMPLES / "job.sh").read_text().splitlines()
    code = [line for line in lines if not line.startswith("# ")]
    assert job.split() == " ".join(code).split()
    for line in array.splitlines():
        assert line in (EXAMPLES / "array.sh").read_text()
