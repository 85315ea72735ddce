"""A user's own rule or loss, named by its import path. The source of its module travels with the experiment.

The module lies beside the experiment file or is installed, and every process gets the same code. It is imported when
photos are dropped or a network is trained, not before. So whoever only reads results needs the experiment file alone.
"""

import functools
import importlib
import importlib.util
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from rsrl_ray.core.digest import bytes_digest, short_digest
from rsrl_ray.core.value import as_text

WRITE = "write it to a file beside the experiment, such as my_rules.py (in a notebook: %%writefile my_rules.py)"


@dataclass(frozen=True)
class Own:
    """A user's own class and its knobs.

    path : its import path, such as ``my_rules.Mine``. knobs : as JSON. code : digest of the source of its module, and
    of no other module. source : this source.
    """

    path: str
    knobs: str
    code: str
    source: str = field(repr=False, compare=False)

    @classmethod
    def of(cls, asked: Mapping[str, Any], modules: Mapping[str, str]) -> "Own":
        """Read a part of a method, such as ``{my_rules.Mine: {share: 0.2}}``.

        modules : sources of modules by name. Raises ValueError in one line.
        """
        if len(asked) != 1:
            raise ValueError(f"{', '.join(asked)}: give one import path, and its knobs below it")
        ((path, knobs),) = asked.items()
        name = module_of(path)
        if name not in modules:
            raise ValueError(f"{path}: the module {name} is not beside the experiment file, and it is not installed")
        if not isinstance(knobs or {}, Mapping):
            raise ValueError(f"{path}: {knobs!r}; give its knobs, such as {{share: 0.2}}")
        code = bytes_digest(modules[name].encode())
        return cls(path, json.dumps(knobs or {}, sort_keys=True), code, modules[name])

    def __str__(self) -> str:
        """For people. The code is named too, because other code is another rule."""
        knobs = json.loads(self.knobs).items()
        words = [f"{name} {_text(value)}" for name, value in knobs]
        return f"{', '.join((self.path, *words))} (code {self.code[:8]})"

    def make(self) -> Any:
        """The object; each process makes it once.

        Raises ValueError if the module cannot be imported, or if the object cannot be made of these knobs.
        """
        return _made(self)


def is_own(asked: Mapping[str, Any]) -> bool:
    """Whether a part of a method names an import path. No knob of this package has a dot in its name."""
    return any("." in str(name) for name in asked)


def module_of(path: str) -> str:
    """The name of the module in an import path. Raises ValueError if it is no import path, or the path of a script."""
    module, _, name = path.rpartition(".")
    if module in ("__main__", "__mp_main__"):
        raise ValueError(f"{path}: workers cannot import from a notebook's cell or from a script; {WRITE}")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ValueError(f"{path}: not an import path; give one such as my_rules.Mine")
    return module


def source_of(module: str, folder: Path | None) -> str | None:
    """The source of a module in ``folder``, or else of the installed one; None if there is none. It is not imported."""
    importlib.invalidate_caches()
    first, *rest = module.split(".")
    beside = None if folder is None else PathFinder.find_spec(first, [str(folder)])
    for spec in (beside, importlib.util.find_spec(first)):  # imports nothing; finds editable installs too
        for part in rest:
            spec = None if spec is None else PathFinder.find_spec(part, spec.submodule_search_locations or [])
        file = Path("" if spec is None else spec.origin or "")
        if file.suffix == ".py":
            return file.read_text("utf-8")
    return None


@functools.cache
def _made(own: Own) -> Any:
    name, kind = module_of(own.path), own.path.rpartition(".")[2]
    try:
        return getattr(_module(name, own.source), kind)(**json.loads(own.knobs))
    except Exception as error:  # the user's code may raise anything
        raise ValueError(f"{own.path}: {type(error).__name__}: {error}") from error


@functools.cache
def _module(name: str, source: str) -> ModuleType:
    """The module of this source. It is imported if this process finds it, and may then import its neighbours.

    If this process does not find a module with the same source, the module is made of the source.
    """
    if source_of(name, None) == source:
        return importlib.import_module(name)
    alias = f"{name}@{short_digest(source)}"
    module = sys.modules[alias] = ModuleType(alias)  # in sys.modules, because dataclasses look there for their module
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


def _text(value: Any) -> str:
    if isinstance(value, str | bool):
        return str(value)
    return as_text(value) if isinstance(value, int | float) else json.dumps(value)
