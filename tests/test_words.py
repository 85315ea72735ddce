"""One word is one thing: no two modules have a class, a type or a constant of one name."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "rsrl_ray"
EVERYWHERE = (*("T", "P"), "all__", "Experiment")  # type variables; a list of names; one, and one made in Python


def words(module: ast.Module) -> Iterator[str]:
    """Names of classes and constants, without a leading underline."""
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            yield node.name.lstrip("_")
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in (name for target in targets for name in ast.walk(target)):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store):
                    yield name.id.lstrip("_")


def test_one_word_is_one_thing() -> None:
    found = defaultdict(set)
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE)
        for word in words(ast.parse(file.read_text("utf-8"))):
            found[word].add(str(place))
    assert {word: places for word, places in found.items() if len(places) > 1 and word not in EVERYWHERE} == {}
