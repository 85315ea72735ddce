"""SIGTERM and SIGHUP are Ctrl-C, and a reader that is gone is no error."""

import signal
import subprocess
import sys

import pytest

WAITS = "import signal, sys; from rsrl_ray.cli import main as cli\n"
WAITS += "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # under nohup too
WAITS += "cli._show = lambda words: print('ready', flush=True) or sys.stdin.read()\n"
WAITS += "sys.exit(cli.main(['show', 'x.yaml']))"


@pytest.mark.parametrize(("number", "status"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_a_command_with_a_line_and_its_status(number: str, status: int) -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", WAITS]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.Signals[number])  # its input stays open: the end of that would end it too
        assert process.stderr.read() == "stopped; what is done is kept, the same command goes on\n"
    assert process.returncode == status


def test_what_nohup_ignores_stays_ignored() -> None:
    code = "import signal; from rsrl_ray.cli.ending import stoppable\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    code += "with stoppable() as stop: signal.raise_signal(signal.SIGHUP); print(stop.status)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "130\n"


def test_a_full_disk_is_one_line() -> None:
    code = "import sys; from rsrl_ray.cli import main as cli\n"
    code += "cli._show = lambda words: print('x') or 0\nsys.exit(cli.main(['show', 'x.yaml']))"
    with open("/dev/full", "w") as full:
        ended = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.stderr == "rsrl show: the output cannot be written (No space left on device)\n"
    assert ended.returncode == 2


def test_a_reader_that_is_gone_is_no_error() -> None:
    code = "import sys; from rsrl_ray.cli import main as cli\n"
    code += "cli._show = lambda words: [print('x' * 9999, flush=True) for _ in range(99)] and 0\n"
    code += "sys.exit(cli.main(['show', 'x.yaml']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
