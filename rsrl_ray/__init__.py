"""Repetitive self-revised learning (RSRL) as a distributed experiment sweep on Ray.

    import rsrl_ray as rsrl

    experiment = rsrl.read("photos.yaml", rounds=10)
    results = rsrl.run_sweep(experiment)
    results.summary, results.figure("macro_f"), results.page()

The names in ``__all__`` are what this package promises; each is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rsrl_ray.analysis.report.results import Results
    from rsrl_ray.api import (
        check,
        check_cluster,
        compare,
        highlight,
        init,
        make_demo,
        near_duplicates,
        prune,
        read,
        register,
        results,
        revise,
        run_sweep,
        score,
        serve,
        standing,
        ui,
    )
    from rsrl_ray.classifier import RSRLClassifier
    from rsrl_ray.core.rules import table as rules
    from rsrl_ray.experiment_file import Experiment
    from rsrl_ray.vision import losses

__all__ = [
    "Experiment",
    "RSRLClassifier",
    "Results",
    "check",
    "check_cluster",
    "compare",
    "highlight",
    "init",
    "losses",
    "make_demo",
    "near_duplicates",
    "prune",
    "read",
    "register",
    "results",
    "revise",
    "rules",
    "run_sweep",
    "score",
    "serve",
    "standing",
    "ui",
]

# Where a name is that is not one of `rsrl_ray.api`; without a colon it is the module itself.
_ELSEWHERE = {
    "Experiment": "rsrl_ray.experiment_file:Experiment",
    "RSRLClassifier": "rsrl_ray.classifier:RSRLClassifier",
    "Results": "rsrl_ray.analysis.report.results:Results",
    "losses": "rsrl_ray.vision.losses",
    "rules": "rsrl_ray.core.rules.table",
}


if not TYPE_CHECKING:  # else every name would be one

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'rsrl_ray' has no attribute {name!r}")
        module, _, inside = _ELSEWHERE.get(name, f"rsrl_ray.api:{name}").partition(":")
        found = import_module(module)
        return getattr(found, inside) if inside else found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
