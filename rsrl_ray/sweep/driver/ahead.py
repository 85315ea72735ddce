"""Ray starts while slow modules are imported, which takes as long: it saves a short sweep a fifth of its time."""

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator

from rsrl_ray.config import Experiment, check_resources
from rsrl_ray.display import Display
from rsrl_ray.method import check_own
from rsrl_ray.photos.table import read_table
from rsrl_ray.store.location import URI
from rsrl_ray.sweep.nodes.cluster import joined_cluster, quiet_ray

SLOW = ("torch", "torchvision", "mlflow")  # to import; Ray's start imports none of them
LOOKED_AT = 100  # photos; with more, the first round would wait long for files on a network


def sound(experiment: Experiment) -> bool:
    """Whether a first look finds the experiment's files. If not, Ray should start after all checks.

    Raises ValueError if the table of photos cannot be read, if a trial asks for resources that it cannot use, or if a
    rule or a loss of one's own cannot be made.
    """
    check_resources(experiment)
    check_own(experiment)
    table = read_table(experiment.photos)
    weights = experiment.network.weights_file
    files = [source for source in table.sources[:LOOKED_AT] if not URI.match(source)]
    files += [] if weights is None else [str(weights)]
    return not (table.faults or table.problems) and all(map(os.path.isfile, files))


@contextlib.contextmanager
def started_ahead(display: Display, wanted: bool = True) -> Iterator[None]:
    """While the body runs, Ray runs too, if there was still something to import while it started.

    wanted : False does nothing; then Ray starts later, when it is needed.

    Raises ValueError if Ray does not start, or the cluster of this machine cannot be joined.
    """
    if not wanted or all(name in sys.modules for name in SLOW):
        yield
        return
    imports = threading.Thread(target=_import, name="imports")
    imports.start()
    try:
        with joined_cluster(display), quiet_ray(display):
            imports.join()
            yield
    finally:
        imports.join()


def _import() -> None:
    with contextlib.suppress(ImportError):  # raised again where it is needed
        for name in SLOW:
            importlib.import_module(name)
