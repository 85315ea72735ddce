"""The sweep on Ray Tune: the only room that imports ray. The folder of a file says in which process it runs.

- `driver/`: in the process of `rsrl sweep`. It checks everything, starts or joins a Ray, hands trials to Ray Tune, and
  tells MLflow and the archive what the trials report.
- `trial/`: in a worker of Ray, one for each trial that runs. It looks for a round in the archive, or else trains it.
- `nodes/`: in both, and in small tasks of Ray on every node: which nodes there are, and what they have room for; the
  photos and features that each of them keeps; the device that a process computes on.
- The `Task` of `task.py` goes from the driver to the trials, a `Report` of `report.py` from a trial to the driver.
- `ray_insides/` is all that leans on what Ray does not promise.

Five objects carry a sweep:

`Task` (`task.py`)
    What all trials share: the experiment, photos, folds, starting weights, and who makes trainers. Ray keeps one copy
    on each node. It knows a round's key, the sweep's id and the table of a round, so driver and trial agree on them.

`RSRLTrial` (`trial/trainable.py`)
    What Ray Tune calls a trial: a `Block` of trials, mostly a single one, or all methods of a fold if these train in
    lockstep (`rsrl_ray.vision.lockstep`). Every `step` is a round of each. Its thread asks each `BlockTrial` which
    round it needs (`rsrl_ray.rounds.loop`), and looks for it in the archive with a `CachedLearner`. Those that are
    missing are trained together (`trial/together.py`). A block keeps no checkpoints. If it starts again, on any node,
    it replays its rounds from the archive.

`Report` (`report.py`)
    What a step returns for each trial: the round's key, its metrics, a note for the reader. Or a `Failure`, with the
    reason; the other trials of the block go on.

`SharingScheduler` (`driver/scheduler.py`)
    Decides which trial starts. Methods that have done the same so far make the same rounds: one of these trials makes
    them, and the others wait, PAUSED, without a process. The scheduler cannot foresee every such case. If two trials
    need the same round, the one that claims it first makes it (`Claims`, `nodes/claims.py`). Blocks of several trials
    wait for none: nobody else makes rounds of their fold.

`Running` (`driver/running.py`)
    Holds the callbacks of Ray Tune, which listen to the trials: `Attempts` (how often a trial may fail, and whose fault
    it is), `Log` (MLflow, in the background), `KeptWeights` (which weights stay in the archive), `SweepProgress` (the
    terminal) and `Watchdog` (trials that hang).

A sweep, step by step: `launch.run_sweep` locks the experiment, joins a cluster if there is one, and `prepare`s the
task. `tracked` opens the sweep in MLflow. `Running.run` gives all trials to Ray Tune and waits. `Running.close` ends
what still runs, and waits for MLflow and storage. To go on, a sweep needs the archive, and nothing of Ray.

One word, one thing: a trial *claims* a round to make it; a note in the archive *holds* weights that somebody needs; the
*lease* of an MLflow experiment lets one driver write to it; a *lock* is on a file of one machine. The rounds that a
trial will make are its *outline*; those that it has made are its *chain*.
"""
