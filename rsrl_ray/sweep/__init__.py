"""The sweep on Ray Tune: the only room that imports ray. A folder says in which process its lines run.

- `driver/`: in the process of `rsrl sweep`. It checks everything, starts or joins a Ray, hands trials to Ray Tune, and
  tells MLflow and the archive what the trials report.
- `trial/`: in a worker of Ray, one for each trial that runs. It looks a round up in the archive, else trains it.
- `nodes/`: in both, and in small tasks of Ray on every node: which nodes there are and what they have room for, what
  each of them keeps of photos and features, which device a process computes on.
- `task.py` travels from the driver to the trials, `report.py` from the trials to the driver.
- `ray_insides/` is all that leans on what Ray does not promise.

Five objects carry a sweep:

`Task` (`task.py`)
    What all trials share: the experiment, photos, folds, starting weights, and who makes trainers. Ray keeps one copy a
    node. It knows a round's key, the sweep's id and the table of a round, so driver and trial agree on them.

`RSRLTrial` (`trial/trainable.py`)
    A trial as Ray Tune sees it: every `step` is a round. A thread of it runs `rsrl_ray.rounds.loop.run_rounds`, whose
    learner is a `CachedLearner`: the archive before a `Trainer`. It keeps no checkpoints. One that is started again, on
    whatever node, replays its rounds from the archive.

`Report` (`report.py`)
    What a step tells: the round's key, its metrics, what a reader should know. Or a `Failure`, with the reason.

`SharingScheduler` (`driver/scheduler.py`)
    Decides which trial starts. Methods that have done the same so far make the same rounds: of such trials one makes
    them and the others wait, PAUSED, without a process. What it cannot foresee, `Claims` (`nodes/claims.py`) prevents:
    a round that two trials need after all is made by the one that claims it first.

`Running` (`driver/running.py`)
    Holds what listens to the trials, each a callback of Ray Tune: `Attempts` (how often a trial may fail, by whose
    fault), `Log` (MLflow, in the background), `KeptWeights` (whose weights stay in the archive), `SweepProgress` (the
    terminal) and `Watchdog` (trials that hang).

A sweep, step by step: `launch.run_sweep` holds the experiment, joins a cluster if there is one, and `prepare`s the
task; `tracked` opens the sweep in MLflow; `Running.run` gives all trials to Ray Tune and waits; `Running.close` ends
what still runs and waits for MLflow and storage. Nothing of Ray is needed to go on: the archive is.

One word, one thing: a trial *claims* a round to make it; a note in the archive *holds* weights that somebody needs; the
*lease* of an MLflow experiment lets one driver write to it; a *lock* is on a file of one machine. The rounds that a
trial is to make are its *outline*; those that it has made are its *chain*.
"""
