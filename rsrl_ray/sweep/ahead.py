"""Ray's start beside the imports that take as long: a fifth of what a short sweep waits for."""

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterator

from rich.console import Console

from rsrl_ray.sweep.cluster import joined_cluster, quiet_ray

SLOW = ("torch", "torchvision", "mlflow")  # to import; Ray's start imports none of them


@contextlib.contextmanager
def started_ahead(console: Console) -> Iterator[None]:
    """While the body runs Ray is there, if there was still something to import beside its start.

    Raises ValueError where Ray does not start, or the cluster of this machine cannot be joined.
    """
    if all(name in sys.modules for name in SLOW):
        yield
        return
    imports = threading.Thread(target=_import, name="imports")
    imports.start()
    try:
        with joined_cluster(console), quiet_ray(console):
            imports.join()
            yield
    finally:
        imports.join()


def _import() -> None:
    with contextlib.suppress(ImportError):  # whoever needs it is told
        for name in SLOW:
            importlib.import_module(name)
