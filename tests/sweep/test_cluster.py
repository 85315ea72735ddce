import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.parametrize(("address", "why"), [("127.0.0.1:1", "refused"), ("head:ray", "invalid literal")])
def test_a_cluster_that_is_not_there_is_one_line(experiment_file: Callable[..., Path], address: str, why: str) -> None:
    command = [sys.executable, "-m", "rsrl_ray.cli", "sweep", str(experiment_file())]
    ended = subprocess.run(
        command, env=os.environ | {"RAY_ADDRESS": address}, capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"rsrl sweep: cannot join Ray (RAY_ADDRESS={address}): ")
    assert why in line
    assert line.endswith("unset RAY_ADDRESS, or run `ray stop`, to sweep on this machine alone")
