"""One sweep at a time writes to an MLflow experiment, wherever its driver runs: a tag of the experiment says which."""

import time
import uuid

from mlflow import MlflowClient

from rsrl_ray.store.locks import is_alive, process
from rsrl_ray.tracking.names import LEASE

SETTLE_S = 0.2


class Lease:
    """The right to write to an experiment, held in its tag `LEASE` as host:pid:random."""

    def __init__(self, client: MlflowClient, experiment_id: str, take_over: bool = False) -> None:
        """``take_over``: from a holder of which it is not known whether it lives."""
        self._client, self._experiment, self._take_over = client, experiment_id, take_over
        self._mine = f"{process()}:{uuid.uuid4().hex}"

    def take(self) -> None:
        """Take it, or keep it. Of a process of this machine that has ended it is taken over.

        Raises
        ------
        ValueError
            Where another process has it.
        """
        held = self._held()
        if held == self._mine:
            return
        holder = held.rpartition(":")[0]
        if held and not self._take_over and holder != process() and is_alive(holder):
            raise ValueError(_refusal(holder))
        self._client.set_experiment_tag(self._experiment, LEASE, self._mine)
        time.sleep(SETTLE_S)  # another one that saw it free as well has written by now
        held = self._held()
        if held != self._mine:  # two asked at once
            raise ValueError(_refusal(held.rpartition(":")[0]))
        self._take_over = False

    def keep(self) -> None:
        """Raises ValueError where another process has taken it over."""
        held = self._held()
        if held != self._mine:
            raise ValueError(_refusal(held.rpartition(":")[0]))

    def release(self) -> None:
        """Give it back, unless another process has taken it over."""
        if self._held() == self._mine:
            self._client.delete_experiment_tag(self._experiment, LEASE)

    def _held(self) -> str:
        return str(self._client.get_experiment(self._experiment).tags.get(LEASE, ""))


def _refusal(holder: str) -> str:
    return (
        f"the experiment is being swept by another process ({holder}) that tracks into the same MLflow; if that one "
        "crashed: rsrl sweep FILE --take_over"
    )
