"""Ray is lost under a sweep, in part or whole, or is ended together with it."""

import contextlib
from pathlib import Path

import psutil
import pytest
from sweep.ray_nodes import nodes_of_this_machine, process
from sweep.sweeping import KNOBS, Gate, Left, Write, entries, in_round, start_driver, statuses, swept, wait_for

from rsrl_ray.experiment_file import read_experiment

pytestmark = pytest.mark.slow


def test_a_raylet_killed_a_node_removed_and_one_added(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    file = experiment_file(**KNOBS, resources={"cpus": 1})
    tells = "bool(open(GATE + '/../raylet ' + os.environ['RAY_RAYLET_PID'], 'w'))"
    at_round_2 = f"fit_together = gate(fit_together, lambda *learn: learn[-1] == 2 and {tells})"
    gate = Gate(tmp_path, {"rsrl_ray.vision.trainer": at_round_2})
    with nodes_of_this_machine(gate, num_cpus=0) as nodes:
        first, second = nodes.add_node(num_cpus=1), nodes.add_node(num_cpus=1)
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        wait_for(driver, lambda: len(gate.waiting()) == 2)  # both trials are in round 2
        trials = gate.waiting()
        raylets = {f"raylet {process(node, 'raylet').pid}" for node in (first, second)}
        assert {path.name for path in tmp_path.glob("raylet *")} == raylets
        process(first, "raylet").kill()
        nodes.add_node(num_cpus=1)
        nodes.remove_node(second, allow_graceful=False)
        for trial in trials:  # where a machine has gone, so have its trials, which else may end their rounds
            psutil.Process(trial).kill()
        wait_for(driver, lambda: gate.waiting() - trials)  # one is in round 2 again
        gate.open()
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert printed.count("started again") == 2
    assert Left.by(file) == undisturbed


def test_head_lost_then_the_same_command_with_a_new_one(
    experiment_file: Write, tmp_path: Path, undisturbed: Left
) -> None:
    file, gate = experiment_file(**KNOBS), Gate(tmp_path, in_round(2))
    with nodes_of_this_machine(gate, num_cpus=2) as nodes:
        address = nodes.address
        driver = start_driver(file, RAY_ADDRESS=address, RAY_gcs_rpc_server_reconnect_timeout_s="12")
        wait_for(driver, gate.waiting)
        for kind in ("gcs_server", "raylet"):
            process(nodes.head_node, kind).kill()
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 1
    assert printed.splitlines()[-1] == (
        f"Ray at {address} is gone; what is done is kept, the same command goes on in a new Ray"
    )
    assert "Traceback" not in printed
    assert "RUNNING" not in statuses(read_experiment(file))
    before = entries(file)
    assert len(before) == 1
    gate.open()
    with nodes_of_this_machine(gate, num_cpus=2) as nodes:
        driver = start_driver(file, RAY_ADDRESS=nodes.address)
        printed = driver.communicate(timeout=200)[0]
    assert driver.returncode == 0, printed
    assert before.items() <= entries(file).items()
    assert Left.by(file) == undisturbed


def in_round_2(folder: Path) -> Gate:
    """Trials wait in round 2, and their first process says which raylet is theirs: the driver's child."""
    code = in_round(2)
    code["rsrl_ray.sweep.trial.trainable"] += f"""
if "RAY_RAYLET_PID" in os.environ:
    with open({str(folder / "raylet")!r}, "w") as file:
        file.write(os.environ["RAY_RAYLET_PID"])
"""
    return Gate(folder, code)


def raylet_in(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "raylet").read_text()))


def test_a_job_whose_processes_are_all_ended_at_once(experiment_file: Write, tmp_path: Path, undisturbed: Left) -> None:
    """As by Slurm: Ray and its workers are gone before the driver can stop them, and may take it along."""
    file, gate = experiment_file(**KNOBS), in_round_2(tmp_path)
    driver = start_driver(file, **gate.environment)
    wait_for(driver, gate.waiting)
    leader = raylet_in(tmp_path).parent()
    assert leader is not None and "raylet" in [one.name() for one in leader.children()]
    for one in [*leader.children(recursive=True), leader]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    printed = driver.communicate(timeout=100)[0]
    gate.open()
    assert driver.returncode in (143, 1), printed
    assert "Traceback" not in printed
    if driver.returncode == 143:
        assert "the same command goes on" in printed
        assert "RUNNING" not in statuses(read_experiment(file))
    outcome, _ = swept(file)
    assert (len(outcome.finished), outcome.unlogged) == (2, 0)
    assert Left.by(file) == undisturbed


def test_a_driver_whose_own_raylet_dies_says_so_at_once(experiment_file: Write, tmp_path: Path) -> None:
    file, gate = experiment_file(**KNOBS), in_round_2(tmp_path)
    environment = gate.environment | {"RAY_ADDRESS": "local"}  # as of --ray new
    driver = start_driver(file, RAY_gcs_rpc_server_reconnect_timeout_s="600", **environment)
    wait_for(driver, gate.waiting)
    raylet_in(tmp_path).kill()
    printed = driver.communicate(timeout=100)[0]
    gate.open()
    assert driver.returncode == 1
    assert " (begun here): 1 node, " in printed
    assert "is gone; what is done is kept, the same command goes on in a new Ray" in printed  # beside Ray's own lines
    assert "RUNNING" not in statuses(read_experiment(file))
