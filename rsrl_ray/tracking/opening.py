"""What is put in order in MLflow when a sweep is taken up: its experiment, what a crash left, older runs."""

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType

from rsrl_ray.store.processes import is_here
from rsrl_ray.tracking.chains import newest_of_methods
from rsrl_ray.tracking.entries import SweepRun
from rsrl_ray.tracking.names import DRIVER, EXPERIMENT, METHOD, NEWEST, RUN_NAME, SWEEP, TRIAL
from rsrl_ray.tracking.runs import as_params, as_tags, method_of_run, opened, parents, search, trials
from rsrl_ray.tracking.stores import find_experiment


def find_or_create_experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """The id of the experiment of the files named ``name``; from now on a tag tells its name."""
    found = find_experiment(client, name)
    if found is None:
        return str(client.create_experiment(name, artifacts, {EXPERIMENT: name}))
    if EXPERIMENT not in found.tags:
        client.set_experiment_tag(found.experiment_id, EXPERIMENT, name)
    return str(found.experiment_id)


def refuse_former(client: MlflowClient, experiment_id: str, name: str, sweep: SweepRun) -> None:
    """Raises ValueError if these photos were swept by a version that dealt their groups to folds in another way."""
    former = search(client, experiment_id, f"tags.`{SWEEP}` = '{sweep.former}'") if sweep.former else []
    if former:
        raise ValueError(
            f"{name} was swept by a version that dealt groups of photos to folds in another way, so its folds are "
            "different: to go on, use that version; to sweep with the folds of this one, give the file another `name`. "
            "`rsrl show`, `analyze` and `register` still read the sweep as it is"
        )


def open_parent(client: MlflowClient, experiment_id: str, sweep: str) -> tuple[Run, int]:
    """The sweep's parent run, made if there is none, and its place among all that were ever taken up.

    Runs that a crash left RUNNING are ended.
    """
    sweeps = parents(client, experiment_id)
    for parent in sweeps:
        found = parent.data.tags[SWEEP]
        left = parent.info.status == "RUNNING" and not is_here(parent.data.tags.get(DRIVER, ""))
        if found == sweep or left:
            running = f"tags.`{SWEEP}` = '{found}' and attributes.status = 'RUNNING'"
            for run in search(client, experiment_id, running):
                client.set_terminated(run.info.run_id, "KILLED")
    own = max((run for run in sweeps if run.data.tags[SWEEP] == sweep), key=opened, default=None)
    if own is None:
        own = client.create_run(experiment_id, tags={SWEEP: sweep, RUN_NAME: "sweep", TRIAL: ""})
    ever = parents(client, experiment_id, ViewType.ALL)
    return own, 1 + max(map(opened, ever))


def newest_runs(client: MlflowClient, experiment_id: str, sweep: SweepRun) -> list[Run]:
    """The newest run of every fold and method of a sweep; now all runs of its trials say whether they are a newest one.

    Runs of versions up to 0.1 get their method as a parameter, because MLflow's UI groups runs by it.
    """
    runs = trials(client, experiment_id, sweep.id)
    newest = {run.info.run_id: run for run in newest_of_methods(runs, sweep.trials)}
    for run in runs:
        method = method_of_run(run)
        tags = {METHOD: method, NEWEST: "yes" if run.info.run_id in newest else "no"}
        new = {name: value for name, value in tags.items() if run.data.tags.get(name) != value}
        params = {} if METHOD in run.data.params else {METHOD: method}
        if new or params:
            client.log_batch(run.info.run_id, tags=as_tags(new), params=as_params(params))
            run.data.tags.update(new)
    return list(newest.values())
