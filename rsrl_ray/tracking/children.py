"""The run that a trial's chain of rounds goes into: found by its tags, or made."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Run, ViewType

from rsrl_ray.core.trial import Link, Origin
from rsrl_ray.tracking.chains import Chain, difference, order, origin_tags, place_tags
from rsrl_ray.tracking.entries import Trial
from rsrl_ray.tracking.names import NEWEST, PARENT_RUN, RUN_NAME, RUN_NOTE, SWEEP, TRIAL
from rsrl_ray.tracking.places import run_place
from rsrl_ray.tracking.provenance import dataset_inputs
from rsrl_ray.tracking.runs import as_params, as_tags, search
from rsrl_ray.tracking.summary import choice_of


@dataclass
class Child:
    """The run that a trial's rounds go into: its artifacts' URI, its status before, and what is logged in it.

    choice : the measures at its chosen round; none if none is logged.
    """

    run_id: str
    place: str
    before: str
    chain: Chain
    choice: Mapping[str, float]


@dataclass(frozen=True)
class Parent:
    """A sweep that was taken up: its id, its run, and its place among all sweeps that were taken up.

    source : tags of the program that takes it up. artifacts : URI of the experiment's artifacts; None if a server
    knows it.
    """

    client: MlflowClient
    experiment_id: str
    sweep: str
    run: Run
    place: int
    source: Mapping[str, str]
    artifacts: str | None
    say: Callable[[str], None]

    def child(self, trial: Trial, rounds: Sequence[Link], origin: Origin) -> Child:
        """The run of a trial's chain, ready to log to."""
        known = search(self.client, self.experiment_id, f"tags.`{TRIAL}` = '{trial.id}'", ViewType.ALL)
        known.sort(key=order, reverse=True)
        runs = [run for run in known if run.info.lifecycle_stage == LifecycleStage.ACTIVE]
        own = next((run for run in runs if Chain.of(run).agrees(rounds, origin)), None)
        if own is None:
            name = f"{trial.name}, chain {len(known) + 1}" if runs else trial.name
            own = self._new_child(trial, name, runs, origin)
        for other in runs:
            if other is not own and other.data.tags.get(NEWEST) == "yes":
                self.client.set_tag(other.info.run_id, NEWEST, "no")
        chain, run_id = Chain.of(own), own.info.run_id
        said = trial.place | dict(trial.tags)
        tags = {SWEEP: self.sweep, PARENT_RUN: self.run.info.run_id, **place_tags(known, self.place)}
        if not chain.start and (rounds or not chain.rounds):  # else it is not known whether this is its chain
            chain = replace(chain, start=origin.start_key)
            tags |= origin_tags(origin)
        new = {name: value for name, value in said.items() if name not in own.data.params}
        self.client.log_batch(run_id, params=as_params(new), tags=as_tags(tags | said))
        if trial.data and not (own.inputs and own.inputs.dataset_inputs):
            self.client.log_inputs(run_id, dataset_inputs(trial.data))
        if own.info.status != "RUNNING":
            self.client.update_run(run_id, status="RUNNING")
        return Child(run_id, run_place(own, self.artifacts), own.info.status, chain, choice_of(own))

    def _new_child(self, trial: Trial, name: str, others: Sequence[Run], origin: Origin) -> Run:
        tags = {TRIAL: trial.id, RUN_NAME: name, RUN_NOTE: trial.note, **trial.place, **self.source}
        run = self.client.create_run(self.experiment_id, tags=tags)
        if others:
            self.say(
                f"{trial.key}: its run in MLflow holds rounds that come out differently here "
                f"({difference(others[0], origin)}); it stays as it is, and this chain of rounds gets a run "
                f"of its own, {name!r}"
            )
        return run
