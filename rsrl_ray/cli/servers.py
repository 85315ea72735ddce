"""The commands that show MLflow: `rsrl ui | server`."""

import argparse

from rsrl_ray.cli.arguments import experiment_of
from rsrl_ray.cli.ending import STOPPED


def ui(words: list[str]) -> int:
    """`rsrl ui`: MLflow's UI, until Ctrl-C."""
    from rsrl_ray import api
    from rsrl_ray.terminal import Terminal

    experiment = experiment_of(
        words, "rsrl ui", "Start MLflow's UI on the results, on port 5000 if it is free, and print links to it."
    )
    running = api.ui(experiment, Terminal())
    print(running)  # as it is: the addresses have words that look like passwords
    if not running.is_own:
        return 0
    print("MLflow's UI runs; Ctrl-C ends it", flush=True)
    try:
        return 1 if running.wait() else 0
    except KeyboardInterrupt:
        return STOPPED
    finally:
        running.stop()


def server(words: list[str]) -> int:
    """`rsrl server`: MLflow's server, until it is stopped."""
    parser = argparse.ArgumentParser(
        "rsrl server",
        description="Run MLflow's server on this machine's loopback, with its database and artifacts in storage.",
    )
    parser.add_argument("storage", help="a directory, s3://... or gs://...: the storage of the experiment files")
    parser.add_argument("--port", type=int, default=5000, help="port of the server (default: %(default)s)")
    given = parser.parse_args(words)
    from rsrl_ray import api

    api.serve(given.storage, given.port)
    return 0
