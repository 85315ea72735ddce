"""Methods of an experiment file: read into values, mistakes in one line, what they drop and are held against."""

import re
from pathlib import Path
from typing import Any

import pytest

from rsrl_ray.config import Experiment
from rsrl_ray.core.prediction import LARGEST_LOGIT, Prediction
from rsrl_ray.core.rules.disagreement import Disagreement
from rsrl_ray.core.rules.edited_neighbours import EditedNeighbours
from rsrl_ray.core.rules.imposters import Imposters
from rsrl_ray.core.rules.keep import Keep
from rsrl_ray.core.rules.lowest_loss import LowestLoss
from rsrl_ray.core.rules.margin import Margin
from rsrl_ray.core.rules.quantile import Quantile
from rsrl_ray.core.rules.random_share import RandomShare
from rsrl_ray.core.rules.soft import Soft
from rsrl_ray.core.rules.thresholds import Thresholds
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.experiment_file import read_experiment
from rsrl_ray.learning import Learning
from rsrl_ray.method import Method, controls_of, drops_photos, main_method, methods_of
from rsrl_ray.vision.losses import CROSS_ENTROPY, Balanced, EffectiveNumber, Focal, Ldam

SHORT = "name: small\nphotos: photos.csv\nschedules: {none: {1: 0.0}}\n"


def _experiment(**knobs: Any) -> Experiment:
    return Experiment(**{"name": "small", "photos": "photos.csv", "schedules": {"none": {1: 0.0}}, **knobs})


@pytest.mark.parametrize(
    ("schedules", "main"),
    [
        ({"none": {1: 0.0}, "firm": {1: 0.5}, "strict": {1: 0.9}}, "firm"),
        ({"late": {1: 0.0, 5: [0.0, 0.0, 0.1]}, "firm": {1: 0.5}}, "late"),
        ({"none": {1: 0.0}, "again": {1: [0.0, 0.0, 0.0]}}, "none"),
    ],
)
def test_the_main_method_is_the_first_that_drops_photos(schedules: dict[str, Any], main: str) -> None:
    assert main_method(Experiment("x", "photos.csv", schedules)) == main


METHODS = """\
methods:
  plain: {}
  control: {revise: {thresholds: {1: 0.9, 3: [0.95, 0.95, 0.9]}, pick: random}}
  random: {revise: {random: 0.3}}
  quantile: {revise: {quantile: 0.2, likelihood: mean}}
  margin: {revise: {margin: -1}}
  disagreement: {revise: {disagreement: 3, start: 2}}
  imposters: {revise: {imposters: 0.2, smallest: 5}}
  trimmed: {revise: {lowest_loss: 0.8}, warm_start: cold}
  balanced: {loss: {balanced: 1, ordinal: 0.5}, sampling: class_balanced}
  late: {sampling: class_balanced, balanced_from: 5}
  mixed: {loss: {focal: 2.0}, mixup: 0.2}
  focal: {loss: {focal: 2.0}}
  effective: {loss: {effective_number: 0.999}}
  ldam: {loss: {ldam: 0.5}}
  averaged: {predict: {average: half, logit_adjustment: validation, decision: expected_f}}
  guarded: {predict: {decision: expected_f, prior: validation, guard: true}}
  median: {predict: {decision: expected_error}}
  shares: {predict: {decision: shares}}
"""
STEPS = make_schedule({1: 0.9, 3: [0.95, 0.95, 0.9]})
VALUES = {
    "none": Method(Thresholds(make_schedule({1: 0.0})), is_schedule=True),
    "plain": Method(Keep()),
    "control": Method(Thresholds(STEPS, "random")),
    "random": Method(RandomShare(0.3)),
    "quantile": Method(Quantile(0.2, "mean")),
    "margin": Method(Margin(-1)),
    "disagreement": Method(Disagreement(3, 2)),
    "imposters": Method(Imposters(0.2, 5)),
    "trimmed": Method(LowestLoss(0.8), Learning(CROSS_ENTROPY, "shuffled", "cold")),
    "balanced": Method(Keep(), Learning(Balanced(1.0, 0.5), "class_balanced", "all")),
    "late": Method(Keep(), Learning(CROSS_ENTROPY, "class_balanced", "all", 5)),
    "mixed": Method(Keep(), Learning(Focal(2.0), mixup=0.2)),
    "focal": Method(Keep(), Learning(Focal(2.0))),
    "effective": Method(Keep(), Learning(EffectiveNumber(0.999))),
    "ldam": Method(Keep(), Learning(Ldam(0.5))),
    "averaged": Method(Keep(), Learning(), Prediction("half", "validation", "expected_f")),
    "guarded": Method(Keep(), Learning(), Prediction(1, 0.0, "expected_f", "validation", True)),
    "median": Method(Keep(), Learning(), Prediction(decision="expected_error")),
    "shares": Method(Keep(), Learning(), Prediction(decision="shares")),
}


def _methods(folder: Path, text: str) -> dict[str, Method]:
    (folder / "experiment.yaml").write_text(SHORT + text)
    return methods_of(read_experiment(folder / "experiment.yaml"))


def test_methods_are_read_into_values_after_the_schedules(tmp_path: Path) -> None:
    found = _methods(tmp_path, METHODS)
    assert list(found) == list(VALUES)
    assert found == VALUES


def test_a_method_without_a_knob_trains_equally_and_is_no_schedule(tmp_path: Path) -> None:
    plain = _methods(tmp_path, "methods: {plain: {}}\n")["plain"]
    assert (plain.learning, plain.prediction, plain.is_schedule) == (Learning(), LARGEST_LOGIT, False)
    assert (plain.learning.loss, plain.learning.sampling, plain.learning.warm_start) == (
        CROSS_ENTROPY,
        "shuffled",
        "all",
    )


def test_a_methods_warm_start_is_the_files_unless_it_has_its_own(tmp_path: Path) -> None:
    found = _methods(tmp_path, "revision: {warm_start: head}\nmethods: {as_file: {}, own: {warm_start: cold}}\n")
    warm_starts = {name: method.learning.warm_start for name, method in found.items()}
    assert warm_starts == {"none": "head", "as_file": "head", "own": "cold"}


def test_one_k_of_a_rule_stands_for_all_majority_classes_of_the_file(tmp_path: Path) -> None:
    found = _methods(tmp_path, "revision: {majority_classes: 2}\nmethods: {a: {revise: {thresholds: {2: 0.9}}}}\n")
    assert found["a"] == Method(Thresholds(make_schedule({2: [0.9, 0.9]}, 2)))


def test_methods_may_be_given_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(SHORT)
    experiment = read_experiment(tmp_path / "experiment.yaml", ["--methods", "{a: {revise: {thresholds: {1: 0.9}}}}"])
    assert list(experiment.method_names()) == ["none", "a"]
    assert methods_of(experiment)["a"] == Method(Thresholds(make_schedule({1: 0.9})))


WORDS = (
    "thresholds, random, quantile, margin, disagreement, imposters, lowest_loss, edited_neighbours, mixture, quota, "
    "soft"
)
WRONG = {
    "{revise: {quantil: 0.2}}": f"no rule in quantil; there are {WORDS}",
    "{revise: {pick: random}}": f"no rule in pick; there are {WORDS}",
    "{revise: {quantile: 0.2, margin: 0}}": f"quantile and margin: give one rule only; there are {WORDS}",
    "{revise: {quantile: 0.2, likelyhood: mean}}": "likelyhood: no knob of quantile; do you mean likelihood?",
    "{revise: {margin: 0, zzz: 1}}": "zzz: no knob of margin; it has margin",
    "{revize: {quantile: 0.2}}": "revize: no knob of a method; do you mean revise?",
    "{revise: {quantile: 2}}": "quantile: 2; give a share, 0 to 1",
    "{revise: {quantile: true}}": "quantile: True; give a share, 0 to 1",
    "{revise: {quantile: .nan}}": "quantile: nan; give a share, 0 to 1",
    "{revise: {quantile: 0.2, likelihood: best}}": "likelihood: 'best'; give one of last, mean",
    "{revise: {disagreement: 0}}": "disagreement: 0; give a whole number, 1 or more",
    "{revise: {margin: wide}}": "margin: 'wide'; give a difference of logits",
    "{revise: 3}": "revise: 3; give knobs, such as {quantile: 0.2}",
    "{revise: {thresholds: 0.9}}": "thresholds: 0.9; give steps, such as {1: 0.9}",
    "{revise: {thresholds: {}}}": "a schedule needs at least one step, such as {1: 0.9}",
    "{revise: {thresholds: {a: 0.9}}}": "revision: 'a'; give a whole number, 1 or more",
    "{revise: {thresholds: {1: high}}}": "revision 1: K: 'high'; give a number, 0 to 1",
    "{revise: {thresholds: {1: 9}}}": "revision 1: K: 9; give a number, 0 to 1",
    "{revise: {thresholds: {1: 0.9}, pick: worst}}": "pick: 'worst'; give one of least_likely, random, most_likely",
    "{loss: {hinge: 1}}": "no loss in hinge; there are balanced, focal, effective_number, ldam",
    "{loss: {balanced: -1}}": "balanced: -1; give a number, 0 or more",
    "{loss: balanced}": "loss: 'balanced'; give knobs, such as {balanced: 1.0}",
    "{predict: {average: 0}}": "average: 0; give half or a whole number, 1 or more",
    "{predict: {avarage: 2}}": "avarage: no knob of predict; do you mean average?",
    "{predict: {decision: share}}": "decision: 'share'; give one of argmax, expected_f, expected_error, shares",
    "{predict: {decision: shares, guard: true}}": "guard: true: of no use with decision: shares; leave it out, or give "
    "decision: expected_f or expected_error",
    "{predict: half}": "predict: 'half'; give knobs, such as {average: half}",
    "{sampling: odd}": "sampling: 'odd'; give one of shuffled, class_balanced",
    "{training: {weight_decai: 0.3}}": "weight_decai: no knob of training; do you mean weight_decay?",
    "{training: {threads: 2}}": "threads: no knob of training; it has "
    "epochs, batch_size, learning_rate, head_factor, momentum, weight_decay, steps",
    "{training: {epochs: 0}}": "epochs: 0; give a whole number, 1 or more",
    "{training: {learning_rate: 0}}": "learning_rate: 0; give a number above 0",
    "{training: {momentum: 1}}": "momentum: 1; give a number from 0 to below 1",
    "{training: {steps: weighted}}": "training.steps: weighted with trainable: all, where batch normalisation would "
    "see the dropped photos; give steps: all, or train the classifier or the head alone",
    "{learn: {ridge: auto}}": "learn: the last layer is solved, but training.trainable is all; give head",
    "{learn: {ridge: auto}, loss: {balanced: 1}}": "loss beside learn: a layer that is solved is not trained; give one "
    "of them",
    "{learn: {}}": "learn: the last layer is solved, but training.trainable is all; give head",
    "{learn: score}": "learn: 'score'; give knobs, such as {ridge: auto}",
    "{loss: null}": "loss: None; give knobs, such as {balanced: 1.0}",
    "{revise: {quota: 1.0e+308}}": "quota: 1e+308; give a number, 1 to 1e+09",
    "{learn: {targets: ordinal}}": "targets: 'ordinal'; give one of score, hard, soft",
    "{sampling: class_balanced, balanced_from: 0}": "balanced_from: 0; give a round, 1 or more",
    "{sampling: class_balanced, balanced_from: 1.5}": "balanced_from: 1.5; give a round, 1 or more",
    "{balanced_from: 5}": "balanced_from: 5, but no sampling; give sampling: class_balanced",
    "{mixup: -1}": "mixup: -1; give a number, 0 or more",
    "{mixup: 0.2, sampling: class_balanced}": (
        "mixup: 0.2, which draws class-balanced batches itself; leave sampling out"
    ),
    "{revise: {soft: 0.9}}": "revise: soft weights min(1, p / 0.9), p the last likelihood: it gives photos weights, "
    "but training.steps is kept; give steps: weighted, for the experiment or this method (with training.trainable: "
    "head or classifier)",
    "{warm_start: body}": "warm_start: 'body'; give one of all, head, cold",
}


@pytest.mark.parametrize(("text", "message"), WRONG.items())
def test_a_wrong_method_is_one_line_that_names_it(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(f"methods.a: {message}") + "$"):
        _methods(tmp_path, f"methods: {{fine: {{}}, a: {text}}}\n")


def test_mixup_has_no_place_in_weighted_steps(tmp_path: Path) -> None:
    text = "training: {trainable: head, steps: weighted}\nmethods: {a: {mixup: 0.2}, b: {mixup: 0}}\n"
    said = (
        "methods.a: mixup: 0.2 with training.steps: weighted, in which the methods of a fold pass the same photos; "
        "give steps: kept or all"
    )
    with pytest.raises(ValueError, match=f"^{said}$"):
        _methods(tmp_path, text)


@pytest.mark.parametrize(
    ("predict", "learns"),
    [
        ("{decision: expected_f}", "expected-F decision"),
        ("{logit_adjustment: validation}", "logit adjustment validation"),
        ("{decision: expected_error}", "decision of least expected error"),
        ("{decision: shares}", "decision by class shares"),
    ],
)
def test_a_prediction_that_learns_needs_validation_photos(tmp_path: Path, predict: str, learns: str) -> None:
    text = f"methods: {{a: {{predict: {predict}}}}}\n"
    assert _methods(tmp_path, text)["a"].prediction.learns
    said = (
        f"methods.a: predict: {learns} learns from validation photos, but folds.validation is 0; give a share above 0"
    )
    with pytest.raises(ValueError, match=f"^{said}$"):
        _methods(tmp_path, "folds: {validation: 0}\n" + text)
    left_out = "methods: {a: {learn: {judged: left_out}, predict: {decision: shares}}}\n"
    frozen = "folds: {validation: 0}\ntraining: {trainable: head}\n"
    assert _methods(tmp_path, frozen + left_out)["a"].prediction.learns  # from training photos that were left out
    and_tau = left_out.replace("shares}", "shares, logit_adjustment: validation}")
    with pytest.raises(ValueError, match=r"learns from validation photos, but folds\.validation is 0"):
        _methods(tmp_path, frozen + and_tau)
    fixed = "methods: {a: {predict: {average: half, logit_adjustment: 1}}}\n"
    assert _methods(tmp_path, "folds: {validation: 0}\n" + fixed)["a"].prediction == Prediction("half", 1)


def test_a_rule_that_looks_at_features_needs_frozen_layers(tmp_path: Path) -> None:
    text = "methods: {a: {revise: {edited_neighbours: 3}}}\n"
    said = "methods.a: revise: edited neighbours, 3 nearest: there are no features of frozen layers; in a sweep, give "
    with pytest.raises(ValueError, match=f"^{said}training.trainable: head or classifier$"):
        _methods(tmp_path, text)
    for trainable in ("head", "classifier"):
        found = _methods(tmp_path, f"training: {{trainable: {trainable}}}\n{text}")
        assert found["a"] == Method(EditedNeighbours(3))


def test_a_rule_that_gives_weights_needs_steps_that_take_them_or_a_layer_that_is_solved(tmp_path: Path) -> None:
    soft, head = "revise: {soft: 0.9, power: 2}", "training: {trainable: head, steps: "
    own = f"{head}all}}\nmethods: {{a: {{{soft}, training: {{steps: weighted}}}}}}\n"
    assert _methods(tmp_path, own)["a"].rule == Soft(0.9, 2)
    assert _methods(tmp_path, f"{head}weighted}}\nmethods: {{a: {{{soft}}}}}\n")["a"].rule == Soft(0.9, 2)
    solved = f"{head}kept}}\nmethods: {{a: {{{soft}, learn: {{ridge: auto}}}}}}\n"
    assert _methods(tmp_path, solved)["a"].rule == Soft(0.9, 2)
    with pytest.raises(ValueError, match=r"^methods\.a: revise: soft .*, but training\.steps is all; give steps: "):
        _methods(tmp_path, f"{head}weighted}}\nmethods: {{a: {{{soft}, training: {{steps: all}}}}}}\n")


def test_a_rule_that_gives_weights_is_no_control(tmp_path: Path) -> None:
    (tmp_path / "experiment.yaml").write_text(
        SHORT + "training: {trainable: head, steps: weighted}\nmethods: {a: {revise: {soft: 0.9}}}\n"
    )
    experiment = read_experiment(tmp_path / "experiment.yaml")
    assert (controls_of(experiment, "a"), main_method(experiment)) == (["none"], "a")


def test_which_rules_go_by_networks_that_have_seen_the_photos(tmp_path: Path) -> None:
    text = (
        "training: {trainable: head}\nmethods: {a: {revise: {quantile: 0.2}}, b: {revise: {random: 0.2}}, c: {}, "
        "d: {revise: {edited_neighbours: 3}}, e: {learn: {judged: left_out}, revise: {quantile: 0.2}}, "
        "f: {learn: {ridge: auto}, revise: {quantile: 0.2}}}\n"
    )
    found = {name: method.judged_in_sample for name, method in _methods(tmp_path, text).items()}
    assert [name for name, judged in found.items() if judged] == ["none", "a", "f"]


def test_every_wrong_method_is_named_in_a_line_of_its_own(tmp_path: Path) -> None:
    text = "methods: {a: {revise: 3}, b: {}, c: {loss: {balanced: -1}}}\n"
    with pytest.raises(ValueError, match="methods") as error:
        _methods(tmp_path, text)
    assert str(error.value).splitlines() == [
        "methods.a: revise: 3; give knobs, such as {quantile: 0.2}",
        "methods.c: balanced: -1; give a number, 0 or more",
    ]


@pytest.mark.parametrize(
    ("method", "drops"),
    [
        ({}, False),
        ({"loss": {"balanced": 1.0}}, False),
        ({"revise": {"quantile": 0.2}}, True),
        ({"revise": {"quantile": 0}}, False),
        ({"revise": {"random": 0}}, False),
        ({"revise": {"lowest_loss": 1}}, False),
        ({"revise": {"margin": 0}}, True),
        ({"revise": {"disagreement": 2, "start": 2}}, True),
        ({"revise": {"disagreement": 2, "start": 3}}, False),  # three rounds have two revisions
        ({"revise": {"thresholds": {1: 0.0}}}, False),
        ({"revise": {"thresholds": {2: 0.1}}}, True),
        ({"revise": {"thresholds": {3: 0.1}}}, False),
    ],
)
def test_whether_a_method_drops_photos_in_three_rounds(method: dict[str, Any], drops: bool) -> None:
    experiment = _experiment(methods={"a": method}, rounds=3)
    assert drops_photos(experiment, "a") is drops
    assert main_method(experiment) == ("a" if drops else "none")


def test_the_control_of_a_method_trains_as_it_does_and_drops_nothing() -> None:
    methods = {
        "balanced": {"loss": {"balanced": 1.0}},
        "both": {"loss": {"balanced": 1.0}, "revise": {"quantile": 0.2}},
        "quantile": {"revise": {"quantile": 0.2}},
        "adjusted": {"predict": {"average": 2}},
        "sampled": {"sampling": "class_balanced", "revise": {"quantile": 0.2}},
        "decayed": {"training": {"weight_decay": 0.3}},
        "fewer": {"training": {"weight_decay": 0.3, "epochs": 5}, "revise": {"quantile": 0.2}},
        "late": {"sampling": "class_balanced", "balanced_from": 5},
        "later": {"sampling": "class_balanced", "balanced_from": 6, "revise": {"quantile": 0.2}},
        "latest": {"sampling": "class_balanced", "balanced_from": 6},
    }
    experiment = _experiment(methods=methods)
    assert controls_of(experiment, "fewer") == ["decayed"]
    assert controls_of(experiment, "both") == ["balanced"]
    assert controls_of(experiment, "quantile") == ["none", "adjusted"]
    assert controls_of(experiment, "sampled") == []
    assert controls_of(experiment, "later") == ["latest"]


def test_until_a_round_a_method_is_what_it_has_done_so_far() -> None:
    late, balanced = Learning(Focal(2.0), "class_balanced", "cold", 5), Learning(Focal(2.0), "class_balanced", "cold")
    plain = Learning(Focal(2.0), warm_start="cold")
    assert [late.until(number) for number in (1, 4, 5, 9)] == [plain, plain, late, late]
    assert [one.until(number) for one in (balanced, plain) for number in (1, 9)] == [balanced] * 2 + [plain] * 2
    assert str(late) == "focal 2; class-balanced batches from round 5; warm start: cold"
    assert str(Learning(mixup=0.2)) == "balanced mixup 0.2"
    assert str(balanced) == "focal 2; class-balanced batches; warm start: cold"
