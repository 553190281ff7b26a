"""What ``import trax`` costs over importing cloudpickle and wrapt, each in a fresh process.

python benchmarks/imports.py [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

SCRIPT = """
import time
import cloudpickle, wrapt
begun = time.perf_counter()
import trax
print(time.perf_counter() - begun)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as cache:
        # The compiled modules are there, as after any first import, whatever the environment says.
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-c", SCRIPT]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds = [float(subprocess.check_output(command, env=environment)) for _ in range(rounds)]
    print(
        f"import trax: {statistics.median(seconds) * 1e3:.1f} ms over cloudpickle and wrapt "
        f"(median of {len(seconds)}, {min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f})"
    )


if __name__ == "__main__":
    main()
