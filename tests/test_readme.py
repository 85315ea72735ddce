"""What the two READMEs say: commands that there are, links that lead somewhere, files that can be read."""

import re
from pathlib import Path

import pytest
import yaml

from rsrl_ray.cli.main import USAGE
from rsrl_ray.experiment_file import read_experiment

ROOT = Path(__file__).parents[1]
READMES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "experiments/README.md")}


def blocks(name: str, kind: str = "") -> list[str]:
    """The texts between ``` of this kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", READMES[name], re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", READMES)
def test_every_command_is_one(name: str) -> None:
    known = set(re.findall(r"^  (\w+) ", USAGE, re.MULTILINE))
    said = set(
        re.findall(r"^rsrl ([a-z]\w*)|[`'& ]rsrl ([a-z]\w*)", "\n".join([READMES[name], *blocks(name)]), re.MULTILINE)
    )
    assert {first or second for first, second in said} <= known
    assert {"init", "sweep", "analyze"} <= {first or second for first, second in said}


@pytest.mark.parametrize("name", READMES)
def test_every_link_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)]+)\)", READMES[name])
    assert links
    for link in links:
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = (ROOT / name).parent / path if path else ROOT / name
            assert target.is_file(), link
            heads = re.findall("^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
            assert not anchor or anchor in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, (
                link
            )


def test_the_examples_of_experiment_files_are_read(tmp_path: Path) -> None:
    whole, methods = blocks("experiments/README.md", "yaml")
    file = tmp_path / "paper.yaml"
    file.write_text(whole)
    assert read_experiment(file).method_names() == ("paper", "strict", "none", "as_many_at_random", "balanced")
    file.write_text(yaml.safe_dump({"name": "a", "photos": "a.csv"} | yaml.safe_load(methods)))
    assert len(read_experiment(file).methods) == 6


def test_the_readme_is_short_and_has_its_two_lines() -> None:
    lines = READMES["README.md"].splitlines()
    assert len(lines) <= 120
    assert {"pip install -e . && rsrl demo", "pip install -e '.[test]' && pytest"} <= set(lines)
