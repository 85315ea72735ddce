"""One sweep at a time writes to an MLflow experiment, wherever its driver runs: a tag of the experiment says which.

MLflow cannot set a tag only if nobody else has set it. So whoever wants the lease first asks for it, in a tag of its
own, then reads all tags, and takes the lease only if it sees no lease and nobody else that asks; then it asks no more.
Of two that ask at once, however slowly they write, the one that reads last sees the other.
"""

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping

from mlflow import MlflowClient

from rsrl_ray.store.processes import in_words, is_alive, process
from rsrl_ray.tracking.names import ASKS, LEASE

MayLive = Callable[[str], bool]
"""Says of a process, by its name, whether it may still run."""

CLAIM_WAIT_S = 10.0  # for others that have asked too, which give way when they have read this tag


class Lease:
    """The right to write to an experiment, written in its tag `LEASE`."""

    def __init__(self, client: MlflowClient, experiment_id: str, may_live: MayLive = is_alive) -> None:
        """may_live : asked of a process that has the lease or asks for it; if it does not live, the lease is free."""
        self._client, self._experiment, self._may_live = client, experiment_id, may_live
        self._process, number = process(), uuid.uuid4().hex
        self._mine, self._asks = f"{self._process}:{number}", ASKS + number

    def take(self) -> None:
        """Take it, or keep it.

        Raises
        ------
        ValueError
            If another process has it, or asks for it at the same time.
        """
        if self._tags().get(LEASE) == self._mine:
            return
        self._client.set_experiment_tag(self._experiment, self._asks, self._mine)
        try:
            self._wait()
            self._client.set_experiment_tag(self._experiment, LEASE, self._mine)
        finally:
            self._ask_no_more()
        self._may_live = is_alive

    def keep(self) -> None:
        """Raises ValueError if another process has taken it over."""
        held = self._tags().get(LEASE, "")
        if held != self._mine:
            raise ValueError(_refusal(_holder(held)))

    def release(self) -> None:
        """Give it back, unless another process has taken it over."""
        if self._tags().get(LEASE) == self._mine:
            self._client.delete_experiment_tag(self._experiment, LEASE)

    def _wait(self) -> None:
        """Wait until nobody else has it or asks for it; of those that ask at once the first by name stays."""
        deadline = time.monotonic() + CLAIM_WAIT_S
        while others := {tag: _holder(held) for tag, held in self._tags().items() if self._is_anothers(tag, held)}:
            first = min(others)  # the lease, if it is among them
            if first < self._asks or time.monotonic() > deadline:
                raise ValueError(_refusal(others[first]))
            time.sleep(0.05)

    def _is_anothers(self, tag: str, held: str) -> bool:
        is_one = tag == LEASE or tag.startswith(ASKS)
        return is_one and _holder(held) != self._process and self._may_live(_holder(held))

    def _ask_no_more(self) -> None:
        """Delete its own claim, and the claims that killed processes have left."""
        with contextlib.suppress(Exception):  # MLflow may be away, and others clean up as well
            for tag, held in self._tags().items():
                if tag.startswith(ASKS) and not self._is_anothers(tag, held):
                    self._client.delete_experiment_tag(self._experiment, tag)

    def _tags(self) -> Mapping[str, str]:
        return dict(self._client.get_experiment(self._experiment).tags)


def running(tags: Mapping[str, str]) -> str:
    """The process that holds an experiment with these tags, if it may still run; else ""."""
    holder = _holder(str(tags.get(LEASE, "")))
    return holder if holder and is_alive(holder) else ""


def _holder(held: str) -> str:
    return held.rpartition(":")[0]


def _refusal(holder: str) -> str:
    return (
        f"the experiment is being swept by another process ({in_words(holder)}) that tracks into the same MLflow; if "
        "that one crashed: rsrl sweep FILE --take_over"
    )
