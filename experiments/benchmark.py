"""What the product gains over a plain Ray sweep, and what it costs over bare arithmetic: one command, one table.

    python experiments/benchmark.py                               # every row: hours
    python experiments/benchmark.py --rows sweep width --log      # two of them, and the table into LOG.md

A row is a ratio of two runs (or a difference, if it has a unit), made in turns: the figure of the middle turn, in
brackets the lowest and the highest. Every sweep is a command of its own in a folder of its own, so that turns share
nothing. `benchmark_rows.py` has the rows, `plain.py` what the product is measured against, `measured.py` how.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import torch
from benchmark_rows import FEW, HERE, ROWS, SCHEDULES, Bench

from rsrl_ray.vision.reproducible import device_kind


def _weights(given: str) -> str:
    return given if given in ("none", "imagenet") else str(Path(given).resolve())


def arguments() -> argparse.Namespace:
    """The command line."""
    names = [row.measure.__name__ for row in ROWS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument("--repeats", type=int, default=3, help="turns of a row (default: %(default)s)")
    parser.add_argument("--photos", type=Path, help="a table (image, score) in the place of the made 256-pixel JPEGs")
    parser.add_argument("--photos-count", type=int, default=FEW, help="made 256-pixel JPEGs (default: %(default)s)")
    parser.add_argument("--large-count", type=int, default=310, help="12-megapixel JPEGs (default: %(default)s)")
    parser.add_argument("--backbone", default="squeezenet1_1")
    parser.add_argument("--weights", type=_weights, default="none", help="none (default), imagenet or a file")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="the plain way's is always fp32")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--log", action="store_true", help="put the table on top of experiments/LOG.md")
    return parser.parse_args()


def heading(given: argparse.Namespace) -> str:
    """Date and commit, machine, versions, sizes and command."""
    commit = subprocess.check_output(["git", "describe", "--always", "--dirty"], cwd=HERE, text=True).strip()
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    machine = f"{cpu.partition(': ')[2]} ({device_kind(torch.device('cpu'))}), {os.cpu_count()} cores"
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "ray", "mlflow"))
    command = " ".join(["python experiments/benchmark.py", *sys.argv[1:]])
    title = f"## {time.strftime('%Y-%m-%d')} · Benchmark at {commit}"
    photos = f"{given.photos or f'{given.photos_count:,} made photos'}, {given.large_count:,} of 12 megapixels"
    network = f"{given.backbone} at {given.image_size} pixels, {given.precision}, weights {Path(given.weights).name}"
    trials = f"{given.folds} folds x {len(SCHEDULES)} schedules x {given.rounds} rounds, {given.repeats} turns"
    parts = {"Machine": f"{machine}; {versions}.", "Sizes": f"{photos}; {network}; {trials}."}
    return "\n\n".join([title, *(f"**{name}.** {text}" for name, text in parts.items()), f"**Command.** `{command}`\n"])


def _stop(*_: object) -> None:
    """Leave, once: `run` then ends what it has started."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def main() -> None:
    """Measure, print, log."""
    given = arguments()
    signal.signal(signal.SIGTERM, _stop)
    table = [heading(given), "| row | against | to reach | measured | of which |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="rsrl-benchmark-", ignore_cleanup_errors=True) as folder:
        bench = Bench(given, Path(folder))
        table += [row.line(bench) for row in ROWS if row.measure.__name__ in given.rows]
    print("\n".join(["", *table]))
    if given.log:
        log = HERE / "LOG.md"
        before, mark, entries = log.read_text().partition("\n## ")
        log.write_text(before + "\n" + "\n".join(table) + "\n" + mark + entries)


if __name__ == "__main__":
    main()
