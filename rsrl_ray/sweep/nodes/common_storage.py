"""Whether the driver finds what a worker writes: the worker leaves a note in storage, and the driver must see it.

If a node's storage is a folder of its own, it trains everything, and nobody ever finds the results.
"""

import contextlib
from collections.abc import Mapping

import ray
from ray.exceptions import RayError

from rsrl_ray.config import Experiment
from rsrl_ray.store.location import Location
from rsrl_ray.store.storage import Note, StorageError
from rsrl_ray.sweep.nodes.room import called_on, living, wanted, with_room

ANSWERS_S = 60.0  # how long the nodes are waited for
SEEN_S = 10.0  # how long a note is looked for
NAMED = 3  # nodes in a message


def check_nodes(experiment: Experiment) -> None:
    """Every node with room for a trial leaves a note, and this process looks for it; no note stays.

    A node that does not answer is skipped: it cannot set up a trial either, see `check_here`.

    Raises
    ------
    ValueError
        If the nodes do not share the storage, or cannot write to it: which ones, and what to do.
    """
    names = {node.id: node.name for node in with_room(wanted(experiment.resources))}
    notes = {node: Note(experiment.storage) for node in names}
    asked = {node: called_on(node, Note.leave, note) for node, note in notes.items()}
    answered, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=ANSWERS_S) if asked else ([], [])
    troubles: dict[str, str] = {}
    for node, note in notes.items():
        if asked[node] not in answered:
            ray.cancel(asked[node])
            continue
        with contextlib.suppress(RayError):
            why = ray.get(asked[node])
            if why or not note.is_seen(0.0 if troubles else SEEN_S):
                troubles[names[node]] = why
                ray.get(called_on(node, Note.remove, note))
        note.remove()
    if troubles:
        raise StorageError(_refusal(experiment.storage, troubles))


def check_here(storage: str, driver_node: str) -> None:
    """Leave a note in the storage of this node, which the node of the driver must see.

    A bucket is not checked: it is the same for all nodes, and a node is not to blame if it does not answer for a while.

    Raises `StorageError` if it is not seen, or cannot be left.
    """
    here = ray.get_runtime_context().get_node_id()
    if Location(storage).is_uri or here == driver_node:
        return
    note = Note(storage)
    why = note.leave()
    try:
        is_seen = not why and ray.get(called_on(driver_node, Note.is_seen, note, SEEN_S))
    finally:
        note.remove()
    if not is_seen:
        raise StorageError(_refusal(storage, {node.name: why for node in living() if node.id == here}))


def _refusal(storage: str, troubles: Mapping[str, str]) -> str:
    """One sentence: what is wrong on which nodes. troubles : by node, why it cannot write; empty if it can."""
    place = Location(storage)
    by_cause: dict[str, list[str]] = {}
    for node, why in troubles.items():
        by_cause.setdefault(why, []).append(node)
    said = []
    for why, nodes in by_cause.items():
        of = ", ".join(nodes[:NAMED]) + (f" and {len(nodes) - NAMED} more" if len(nodes) > NAMED else "")
        unseen = f"the driver does not see what {of} writes to {place}"
        said.append(f"{of} cannot write to {place} ({why})" if why else unseen)
    share = "give every node the right to write there"
    if not place.is_uri:
        share = "give a folder that all nodes share, or a bucket (s3://..., gs://...)"
    return f"storage: {'; '.join(said)}; {share}"
