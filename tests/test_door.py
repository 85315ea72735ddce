"""What ``import rsrl_ray`` promises."""

import dataclasses
import io
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray
from rich.console import Console

import rsrl_ray as rsrl
from rsrl_ray.config import Revision
from rsrl_ray.core import statistics
from rsrl_ray.core.revision import revise
from rsrl_ray.core.rules.rule import Rule, Seen
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.identity import recipe, trial_ids
from rsrl_ray.method import check_own, methods_of
from rsrl_ray.rounds.loop import seen_after
from rsrl_ray.terminal import Terminal
from rsrl_ray.tracking import standing

PROMISED = [
    *("Experiment", "RSRLClassifier", "Results", "check", "check_cluster", "compare", "highlight", "init", "losses"),
    *("make_demo", "near_duplicates", "prune", "read", "register", "results", "revise", "rules", "run_sweep", "score"),
    *("serve", "standing", "ui"),
]
HEAVY = ("torch", "torchvision", "ray", "mlflow", "pandas", "numpy", "sklearn", "matplotlib", "jsonargparse", "rich")


def in_a_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_promise_is_this_list() -> None:
    assert rsrl.__all__ == PROMISED
    assert set(PROMISED) <= set(dir(rsrl))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rsrl.nothing  # type: ignore[attr-defined]


def test_the_bare_import_loads_nothing() -> None:
    assert in_a_new_process(f"import sys, rsrl_ray; print({{*{HEAVY}}} & set(sys.modules))") == "set()"


@pytest.mark.slow
def test_every_name_is_the_same_before_and_after_all_modules_were_imported() -> None:
    """Python puts a module in the place of a name that it shares with it."""
    code = (
        "import importlib, pkgutil, rsrl_ray as rsrl\n"
        "names = [name for name in rsrl.__all__]\n"
        "first = [(name, id(getattr(rsrl, name))) for name in names]\n"
        "for found in pkgutil.walk_packages(rsrl.__path__, 'rsrl_ray.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
        "print(first == [(name, id(getattr(rsrl, name))) for name in names])\n"
    )
    assert in_a_new_process(code) == "True"


def test_an_experiment_made_in_python_is_checked_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = rsrl.Experiment("cats/photos.csv", methods={"less": {"revise": {"quantile": 0.2}}}, training={"epochs": 3})
    assert (made.name, made.photos, made.training.epochs) == ("cats-photos", str(tmp_path / "cats/photos.csv"), 3)
    (tmp_path / "my photos").mkdir()
    assert rsrl.Experiment(tmp_path / "my photos", schedules={"none": {1: 0.0}}).name == "my-photos"
    for knobs, said in (
        ({"rounds": 0}, "^rounds: 0; give a whole number, 1 or more$"),
        ({"traning": {"epochs": 3}}, "^traning.epochs: there is no such knob$"),
        ({"folds": {"count": 1}}, "folds.count: 1 leaves no photos"),
        ({"methods": {"less": {"revise": {"quantil": 0.2}}}}, "methods.less: no rule in quantil"),
    ):
        with pytest.raises(ValueError, match=said):
            rsrl.Experiment("photos.csv", **{"schedules": {"none": {1: 0.0}}, **knobs})


def test_knobs_in_python_go_over_those_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "a.yaml").write_text(
        "{name: a, photos: p.csv, schedules: {none: {1: 0.0}}, training: {epochs: 3, momentum: 0.5}}"
    )
    read = rsrl.read("there/a.yaml", rounds=7, training={"epochs": 2}, storage="here")
    assert (read.rounds, read.training.epochs, read.training.momentum) == (7, 2, 0.5)
    assert (read.photos, read.storage) == (str(folder / "p.csv"), str(tmp_path / "here"))
    assert isinstance(read, rsrl.Experiment)


def test_python_and_a_file_make_the_same_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    methods = {"half": {"loss": {"balanced": 0.5}}, "less": {"revise": {"quantile": 0.2}}}
    knobs: dict[str, Any] = {"name": "a", "photos": "p.csv", "schedules": {"none": {1: 0.0}}, "methods": methods}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(knobs))
    of_file = read_experiment(tmp_path / "a.yaml")
    python = rsrl.Experiment(**knobs)
    for made in (python, rsrl.read("a.yaml"), dataclasses.replace(python, rounds=30)):
        assert dataclasses.asdict(made) == dataclasses.asdict(of_file) and recipe(made) == recipe(of_file)
        assert pickle.loads(pickle.dumps(made)) == made
    values = {"half": {"loss": rsrl.losses.Balanced(0.5)}, "less": {"revise": rsrl.rules.Quantile(0.2)}}
    assert methods_of(rsrl.Experiment(**knobs | {"methods": values})) == methods_of(of_file)


@dataclasses.dataclass(frozen=True)
class Cell:
    """A rule as a notebook's cell defines it."""

    share: float


def test_own_code_is_part_of_a_methods_identity_and_of_no_others(tmp_path: Path) -> None:
    """Its digest enters; reading imports nothing, and the text goes where the experiment goes."""
    file, module = tmp_path / "a.yaml", tmp_path / "my_code.py"
    file.write_text("{name: a, photos: p.csv, methods: {none: {}, mine: {revise: {my_code.Mine: {share: 0.2}}}}}")
    with pytest.raises(ValueError, match=r"methods.mine: my_code.Mine: the module my_code is not beside"):
        read_experiment(file)
    module.write_text("raise SystemExit('imported')")
    before = read_experiment(file)
    assert str(methods_of(before)["mine"].rule).startswith("my_code.Mine, share 0.2 (code ")
    module.write_text("raise KeyError('imported')")
    experiment = read_experiment(file)
    ids = [trial_ids(each, "sweep") for each in (before, experiment)]
    changed = {key.method for key in ids[0] if ids[0][key] != ids[1][key]}
    assert changed == {"mine"}
    assert experiment.modules == {"my_code": "raise KeyError('imported')"}
    with pytest.raises(ValueError, match=r"methods.mine: my_code.Mine: KeyError: 'imported'"):
        check_own(experiment)
    for cell in ("__main__.Mine", Cell(0.2)):
        method = {"revise": {cell: {}} if isinstance(cell, str) else cell}
        with pytest.raises(ValueError, match=r"%%writefile my_rules.py"):
            rsrl.Experiment("p.csv", methods={"mine": method})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def drops(self, seen): return [0.5] * len(seen.labels)", "drops gave float64 \\[20\\], not bool \\[20\\]"),
        ("def drops(self, seen): return seen.nothing", "AttributeError: 'Seen' object has no attribute 'nothing'"),
        ("pass", "it has no method drops"),
    ],
)
def test_what_is_wrong_with_an_own_rule_is_one_line(body: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "own_rule.py").write_text(f"class Mine:\n    {body}\n")
    (tmp_path / "a.yaml").write_text("{name: a, photos: p.csv, methods: {mine: {revise: {own_rule.Mine: null}}}}")
    experiment = read_experiment(tmp_path / "a.yaml")

    def use() -> None:
        check_own(experiment)
        rsrl.revise(methods_of(experiment)["mine"].rule, np.zeros((20, 3)), np.zeros(20, dtype=int))

    with pytest.raises(ValueError, match=f"own_rule.Mine: {said}"):
        use()


def test_an_own_rule_may_give_weights_and_then_needs_steps_that_take_them(tmp_path: Path) -> None:
    (tmp_path / "light.py").write_text(
        "from rsrl_ray import rules\n\nclass Light(rules.Weighing):\n"
        "    def __init__(self, bad=False): self.bad = bad\n"
        "    def weights(self, seen): return seen.nothing if self.bad else 0.5 ** (1 + seen.labels)\n"
    )

    def experiment(steps: str, knobs: str = "null") -> rsrl.Experiment:
        methods = f"{{mine: {{revise: {{light.Light: {knobs}}}}}}}"
        (tmp_path / "a.yaml").write_text(
            f"{{name: a, photos: p.csv, methods: {methods}, training: {{trainable: head, steps: {steps}}}}}"
        )
        return read_experiment(tmp_path / "a.yaml")

    check_own(experiment("weighted"))
    with pytest.raises(ValueError, match=r"^methods\.mine: revise: light\.Light .*, but training\.steps is all; give "):
        check_own(experiment("all"))
    labels = np.repeat([0, 1], 10)
    seen = seen_after(1, [np.zeros((20, 3), np.float32)], labels == labels, labels, Revision())
    found = revise(methods_of(experiment("weighted"))["mine"].rule, seen)
    assert found.weights is not None and found.weights.tolist() == [0.5] * 10 + [0.25] * 10
    with pytest.raises(ValueError, match=r"^light\.Light: AttributeError: 'Seen' object has no attribute 'nothing'"):
        revise(methods_of(experiment("weighted", "{bad: true}"))["mine"].rule, seen)


def test_a_rule_on_anybodys_logits() -> None:
    labels = np.array([0] * 10 + [1] * 6 + [2] * 2)
    logits = np.zeros((18, 3))
    logits[np.arange(18), labels] = np.arange(18)  # the first of a class is the least likely
    kept = rsrl.revise(rsrl.rules.Quantile(0.2), logits, labels, majority_classes=2)
    assert np.flatnonzero(~kept).tolist() == [0, 1, 10]
    assert (rsrl.revise({"quantile": 0.2}, logits, labels, majority_classes=2) == kept).all()
    paper = rsrl.revise({"thresholds": {1: [0.9, 0.0]}}, logits, labels, majority_classes=2)
    assert np.flatnonzero(~paper).tolist() == [0, 1, 2]  # sigmoid(2) is 0.88
    for rounds, said in ((logits[0], "logits: "), (logits[:, :2], "labels: give 18 class indices from 0 to 1")):
        with pytest.raises(ValueError, match=said):
            rsrl.revise({"quantile": 0.2}, rounds, labels)


def test_a_rule_that_looks_back_gets_all_rounds() -> None:
    labels = np.zeros(20, dtype=int)
    logits = np.zeros((2, 20, 2))
    logits[0, :, 0], logits[1, :, 0] = np.arange(20), [0, *range(20, 1, -1)]
    mean = rsrl.revise({"quantile": 0.05, "likelihood": "mean"}, logits, labels, majority_classes=1)
    assert np.flatnonzero(~mean).tolist() == [0]
    with pytest.raises(ValueError, match="majority_classes: 3 of 2 classes"):
        rsrl.revise({"quantile": 0.2}, logits, labels)


def test_a_loss_for_anybodys_training_loop() -> None:
    import torch

    logits = torch.zeros((2, 2), requires_grad=True)
    loss = rsrl.losses.Balanced(1.0)(logits, torch.tensor([0, 1]), torch.tensor([30.0, 10.0], dtype=torch.float64))
    assert loss.item() == pytest.approx(-(np.log(0.75) + np.log(0.25)) / 2)
    torch.autograd.backward(loss)
    assert logits.grad is not None


def test_a_comparison_of_any_table() -> None:
    scores = pd.DataFrame({"none": [0.5, 0.4, 0.45], "mine": [0.6, 0.45, 0.5], "other": [0.5, 0.41, 0.45]})
    found = rsrl.compare(scores, ratio=0.5, rope=0.02).set_index("method")
    test = statistics.corrected_resampled_t(np.array([0.6 - 0.5, 0.45 - 0.4, 0.5 - 0.45]), 0.5)
    assert found.loc["mine", ["t", "p", "low", "high"]].tolist() == [test.t, test.p, test.low, test.high]
    assert found["folds"].tolist() == [3, 3]
    assert found.loc["mine", "p_holm"] == min(1, 2 * found["p"].min())
    assert found.loc["mine", ["worse", "equivalent", "better"]].sum() == pytest.approx(1)
    assert rsrl.compare({"none": [1, 2], "mine": [2, 3]}, ratio=0.25).loc[0, "difference"] == 1
    with pytest.raises(ValueError, match="baseline 'nobody': there is no such method; there are none, mine, other"):
        rsrl.compare(scores, "nobody", ratio=0.5)


def test_what_is_not_as_the_file_has_it_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal is told; in Python a warning says it."""
    found = SimpleNamespace(differs=("These are the older results.",), trials={})
    monkeypatch.setattr(standing, "find_results", lambda experiment: found)
    experiment = rsrl.Experiment("p.csv", methods={"none": {}})
    for read in (rsrl.results(experiment), rsrl.standing(experiment)):
        with pytest.warns(UserWarning, match="These are the older results") as said:
            assert read.found is read.found
        assert len(said) == 1
    shown = Terminal(Console(file=io.StringIO()))
    assert rsrl.standing(experiment, shown).found
    assert shown.console.file.getvalue() == "note: These are the older results.\n"  # type: ignore[attr-defined]
    with (
        pytest.warns(UserWarning, match="older"),
        pytest.raises(ValueError, match="method 'none' in fold 0 is logged; no other method has"),
    ):
        rsrl.results(experiment).predictions("none")


@pytest.mark.parametrize(
    ("scores", "ratio", "said"),
    [
        ({"none": [1, 2], "mine": [1, np.nan]}, 0.25, "scores: mine, fold 1: no number; give the same folds for all"),
        ({"none": [1, 2], "mine": [2, 3]}, 4, r"ratio: 4; give photos tested over .*, 1 / \(k - 1\) for k folds"),
        ({"none": [1, 2], "mine": [2, 3]}, np.nan, "ratio: nan; give"),
        ({"none": [1], "mine": [2]}, 0.25, "scores: 1 fold; give two or more"),
        ({"none": [1, 2]}, 0.25, "no method besides the baseline 'none'"),
        (np.ones((2, 2)), 0.25, "scores: ndarray, whose columns have no names; give a table with a column a method"),
        ({"none": [1, 2], "mine": ["a", "b"]}, 0.25, "scores: could not convert"),
    ],
)
def test_what_cannot_be_compared_is_told(scores: Any, ratio: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rsrl.compare(scores, ratio=ratio)


@pytest.mark.parametrize(
    "call",
    [
        *(rsrl.results, rsrl.standing, rsrl.run_sweep, rsrl.ui, rsrl.register, rsrl.highlight, rsrl.prune, rsrl.check),
        rsrl.near_duplicates,
    ],
)
def test_a_file_is_no_experiment(call: Any, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("photos: p.csv\n")
    with pytest.raises(ValueError, match=r"a.yaml: this is the name of a file, .*; give rsrl.read\('.*a.yaml'\)$"):
        call(str(file))
    with pytest.raises(ValueError, match=r"a.yaml: this is the name of a file"):
        rsrl.score(["a.jpg"], experiment=str(file))  # type: ignore[arg-type]


class DropsAlone:
    def drops(self, seen: Seen) -> Any:
        return seen.labels == 0


class NearOthers(Rule):
    """Drops photos whose feature is below a half."""

    def drops(self, seen: Seen) -> NDArray[np.bool_]:
        return seen.features[:, 0] < 0.5


def test_a_rule_may_look_at_features() -> None:
    logits, labels = np.zeros((20, 2), dtype=np.float32), np.repeat([0, 1], 10)
    features = np.linspace(0, 1, 20)[:, None]
    kept = rsrl.revise(NearOthers(), logits, labels, features=features, majority_classes=1)
    assert (kept[:10].sum(), kept[10:].sum()) == (5, 10)  # five photos of a class stay, whatever the rule says
    with pytest.raises(ValueError, match=r"features: \[20\]; give numbers, \[20, D\]"):
        rsrl.revise(NearOthers(), logits, labels, features=features[:, 0], majority_classes=1)
    with pytest.raises(ValueError, match="there are no features"):
        rsrl.revise(NearOthers(), logits, labels, majority_classes=1)


@pytest.mark.parametrize(
    ("rule", "settings", "said"),
    [
        (
            {"quantile": 0.2},
            {"membership": "softmx"},
            "^revision.membership: softmx; give one of 'sigmoid', 'cent",
        ),
        ({"quantile": 0.2}, {"min_kept": 2}, "min_kept"),
        ({"quantile": 0.2}, {"min_keep": 0.2}, "min_keep"),
        ("quantile", {}, "rule: 'quantile'; give knobs, such as"),
        (None, {}, "rule: None; give knobs"),
        (rsrl.rules.Quantile, {}, "rule: <class .*Quantile'>; give knobs"),
        (rsrl.rules.Soft(0.9), {}, "rule: soft weights .*: it gives photos weights, which only a sweep uses; give one"),
        (
            DropsAlone(),
            {},
            "rule: .*DropsAlone.* has no looks_back and no recalls; derive its class from rsrl_ray.rules",
        ),
        ({"nowhere_rules.Mine": {}}, {}, r"rule: nowhere_rules.Mine, .*; give the object itself, such as Mine\(0.2\)"),
    ],
)
def test_what_is_wrong_with_a_rule_in_python_is_one_line(rule: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        rsrl.revise(rule, np.zeros((20, 3)), np.zeros(20, dtype=int), **settings)
    assert "\n" not in str(error.value)


def test_an_own_rule_is_found_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here_rules.py").write_text(
        "class Mine:\n    def __init__(self, first): self.first = first\n"
        "    def drops(self, seen): return [n < self.first for n in range(len(seen.labels))]\n"
    )
    kept = rsrl.revise({"here_rules.Mine": {"first": 2}}, np.zeros((20, 3)), np.zeros(20, dtype=int))
    assert np.flatnonzero(~kept).tolist() == [0, 1]
    for path, knobs, said in (("Mine", {"fist": 2}, "fist"), ("Mien", {}, "no attribute 'Mien'")):
        wrong = rsrl.Experiment("p.csv", methods={"mine": {"revise": {f"here_rules.{path}": knobs}}})
        for call in (rsrl.check, rsrl.run_sweep):  # before a photo is read or Ray starts
            with pytest.raises(ValueError, match=f"^methods.mine: here_rules.{path}: .*{said}"):
                call(wrong)


class Halves(rsrl.rules.Rule):
    def drops(self, seen: Seen) -> Any:
        return [0.5] * len(seen.labels)


def test_an_object_whose_mask_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=r"^Halves: drops gave float64 \[20\], not bool \[20\]"):
        rsrl.revise(Halves(), np.zeros((20, 3)), np.zeros(20, dtype=int))


def test_what_is_no_experiment_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "photos.csv").write_text("image,score\n" * 9)
    (tmp_path / "a.yaml").write_text("{name: a, photos: p.csv, methods: {none: {}}}")
    for said, read in (
        ("photos.csv: this is a table of photos; give an experiment file", lambda: rsrl.read(tmp_path / "photos.csv")),
        ("^folds: 2; give its knobs, such as {'count': 5}$", lambda: rsrl.read(tmp_path / "a.yaml", folds=2)),
        ("^training: 'x'; give its knobs", lambda: rsrl.Experiment("p.csv", training="x")),
    ):
        with pytest.raises(ValueError, match=said) as error:
            read()
        assert "\n" not in str(error.value)


def test_results_show_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {0: SimpleNamespace(status="FINISHED", rounds=30), 1: SimpleNamespace(status="RUNNING", rounds=3)}
    found = SimpleNamespace(differs=(), trials=runs)
    monkeypatch.setattr(standing, "find_results", lambda experiment: found)
    experiment = rsrl.Experiment("p.csv", name="a", folds={"use": [0]}, methods={"none": {}, "less": {}})
    assert repr(rsrl.results(experiment)) == "Results of a: 1 of 2 trials done; methods none, less"

    def nothing(experiment: Any) -> Any:
        raise ValueError("no sweep of a")

    monkeypatch.setattr(standing, "find_results", nothing)
    assert repr(rsrl.standing(experiment)) == "Standing of a: no sweep of a"
    assert rsrl.results(experiment)._repr_html_() == "<p>Results of a: no sweep of a</p><p></p>"


def test_a_demo_needs_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="file is a file; give `rsrl demo` a folder"):
        rsrl.make_demo(tmp_path / "file")


@pytest.mark.parametrize("module", [rsrl.rules, rsrl.losses])
def test_its_modules_show_what_they_promise(module: Any) -> None:
    assert dir(module) == sorted(module.__all__)
    assert {"Any", "annotations", "dataclass", "math", "OwnLoss"}.isdisjoint(dir(module))


def test_seen_is_at_the_door() -> None:
    assert rsrl.rules.Seen is Seen
