"""A rule or a loss of one's own, named by its import path; the source of its module travels with the experiment.

So every process has the same code: the module lies beside the experiment file, or is installed. Nothing is imported
before something is dropped or trained, so those who only read results need the file alone.
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
    """A class of one's own and its knobs.

    path : of its import, such as ``my_rules.Mine``. knobs : as JSON. code : digest of the source of its module, of that
    alone. source : that text.
    """

    path: str
    knobs: str
    code: str
    source: str = field(repr=False, compare=False)

    @classmethod
    def of(cls, asked: Mapping[str, Any], modules: Mapping[str, str]) -> "Own":
        """As a method of an experiment has it, ``{my_rules.Mine: {share: 0.2}}``; modules : sources by name.

        Raises
        ------
        ValueError
            In one line, what is wrong with it.
        """
        if len(asked) != 1:
            raise ValueError(f"{', '.join(asked)}: give one import path, and its knobs below it")
        ((path, knobs),) = asked.items()
        name = module_of(path)
        if name not in modules:
            raise ValueError(f"{path}: there is no file of a module {name} beside the experiment, nor is it installed")
        if not isinstance(knobs or {}, Mapping):
            raise ValueError(f"{path}: {knobs!r}; give its knobs, such as {{share: 0.2}}")
        code = bytes_digest(modules[name].encode())
        return cls(path, json.dumps(knobs or {}, sort_keys=True), code, modules[name])

    def __str__(self) -> str:
        """For people: other code is another rule."""
        knobs = json.loads(self.knobs).items()
        words = [f"{name} {_text(value)}" for name, value in knobs]
        return f"{', '.join((self.path, *words))} (code {self.code[:8]})"

    def make(self) -> Any:
        """The object, made once a process.

        Raises
        ------
        ValueError
            If the module cannot be imported, or does not make one of these knobs.
        """
        return _made(self)


def is_own(asked: Mapping[str, Any]) -> bool:
    """Whether a part of a method names a class by its import path: no knob of this package has a dot in its name."""
    return any("." in str(name) for name in asked)


def module_of(path: str) -> str:
    """The module's name in an import path."""
    module, _, name = path.rpartition(".")
    if module in ("__main__", "__mp_main__"):
        raise ValueError(f"{path}: workers cannot import what is defined in a notebook's cell or a script; {WRITE}")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ValueError(f"{path}: no import path, such as my_rules.Mine")
    return module


def source_of(module: str, folder: Path | None) -> str | None:
    """The text of a module in ``folder``, or else as it is installed; None if there is none. Nothing is imported."""
    importlib.invalidate_caches()
    first, *rest = module.split(".")
    beside = None if folder is None else PathFinder.find_spec(first, [str(folder)])
    for spec in (beside, importlib.util.find_spec(first)):  # this imports nothing, and finds editable installs too
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
    except Exception as error:  # whatever code of others does
        raise ValueError(f"{own.path}: {type(error).__name__}: {error}") from error


@functools.cache
def _module(name: str, source: str) -> ModuleType:
    """Imported where this process finds the same text, which may import its neighbours; else made of the text."""
    if source_of(name, None) == source:
        return importlib.import_module(name)
    alias = f"{name}@{short_digest(source)}"
    module = sys.modules[alias] = ModuleType(alias)  # there, because dataclasses look their module up
    exec(compile(source, f"{name}.py", "exec"), module.__dict__)
    return module


def _text(value: Any) -> str:
    if isinstance(value, str | bool):
        return str(value)
    return as_text(value) if isinstance(value, int | float) else json.dumps(value)
