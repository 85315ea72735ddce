"""How many trials share a GPU, by the memory that the cluster's GPUs have free."""

import math

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rsrl_ray.display import Display
from rsrl_ray.sweep.nodes.room import A_LITTLE, living, wait_for_room
from rsrl_ray.vision.memory import Gpu, gpus

OTHER_NODES_S = 10.0  # how long the other nodes are waited for when one has answered
MOST_TRIALS = 4  # on one GPU; nobody has measured whether more are faster


def gpu_share(need: int, display: Display) -> float:
    """The share of a GPU for a trial that takes ``need`` bytes of its memory: 1 / 2 if two trials fit, and so on.

    Asks all nodes how much memory their GPUs have free. The GPU with the least decides. Waits until there is a GPU. The
    results do not depend on the share.
    """
    with display.started("asking the GPUs how much memory they have"):
        found = _gpus(display)
    if not found:
        raise ValueError(
            "resources.gpus: auto, but PyTorch sees no GPU, and Ray sees some; install a PyTorch for these GPUs, or "
            "train on the CPU with resources.gpus 0"
        )
    least = min(found, key=lambda gpu: gpu.free)
    trials = max(1, min(MOST_TRIALS, least.free // need))
    of = "the GPU" if len(found) == 1 else f"the fullest or smallest of {len(found)} GPUs"
    display.said(
        f"trials on a GPU: {trials}, because each takes up to {need / 1e9:.1f} GB, and {of}, {least.name}, has "
        f"{least.free / 1e9:.1f} of {least.memory / 1e9:.1f} GB free; there are never more than {MOST_TRIALS}; "
        "resources.gpus sets another share",
    )
    return math.floor(1e4 / trials) / 1e4  # Ray counts in ten-thousandths


def _gpus(display: Display) -> list[Gpu]:
    """The GPUs of all nodes; if no node has one yet, those of the first node that comes."""
    sees_all = {"env_vars": {"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"}}
    look = ray.remote(num_cpus=0, num_gpus=A_LITTLE, runtime_env=sees_all)(gpus)
    nodes = [node.id for node in living() if node.holds({"GPU": A_LITTLE})]
    on_each = [look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=True)) for node in nodes]
    asked = [one.remote() for one in on_each or [look]]
    wait_for_room(asked, display)
    answered, busy = ray.wait(asked, num_returns=len(asked), timeout=OTHER_NODES_S)  # busy with others' trials
    for one in busy:
        ray.cancel(one)
    found: list[list[Gpu]] = ray.get(answered)
    return [gpu for of_node in found for gpu in of_node]
