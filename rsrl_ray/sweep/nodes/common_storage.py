"""Whether what a worker writes is where the driver looks: it leaves a note in storage, which has to be seen there.

Nodes whose storage is a folder of their own would train everything, and nothing of it would ever be found.
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
    """Have all nodes that hold a trial leave a note where this process looks for it; nothing of that stays.

    A node that does not answer is passed over: it sets up no trial either, see `check_here`.

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
    """Leave a note in the storage of this node, which has to be seen on the driver's node.

    A bucket is the same one for all nodes; one that is away for a while is no fault of a node's.

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
    """In a sentence, what is wrong on which nodes; troubles : by node, why it cannot write; "" if it can."""
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
