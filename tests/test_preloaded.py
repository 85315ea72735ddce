"""The tests' processes are forks of one that has imported torch, or, by a switch, are not."""

import os
import subprocess
import sys

import pytest


def test_the_python_of_the_tests_is_a_fork_unless_that_is_switched_off() -> None:
    words = [os.environ["RSRL_PYTHON"], "-c", "import sys; print('torch' in sys.modules)"]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(os.environ.get("RSRL_PRELOADED") != "0")


@pytest.mark.slow
def test_without_forks_pytest_and_its_processes_are_pythons_of_their_own() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in FOR_FORKS}
    test = f"{__file__}::{test_the_python_of_the_tests_is_a_fork_unless_that_is_switched_off.__name__}"
    words = [sys.executable, "-m", "pytest", "-n", "1", "-p", "no:cacheprovider", test]
    found = subprocess.run(words, env=environment | {"RSRL_PRELOADED": "0"}, capture_output=True, text=True)
    assert "1 passed" in found.stdout, found.stdout + found.stderr


FOR_FORKS = ("RSRL_PYTHON", "RAY_JOB_CONFIG_JSON_ENV_VAR", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS")
