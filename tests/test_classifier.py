"""The estimator, tested by scikit-learn's own checks too."""

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import rsrl_ray as rsrl
from rsrl_ray import config
from rsrl_ray.core.rules.rule import Seen
from rsrl_ray.parts import loss_of, rule_of
from rsrl_ray.rounds.loop import Plan, run_rounds
from rsrl_ray.vision.lesson import Lesson
from rsrl_ray.vision.linear import all_of
from rsrl_ray.vision.network import Weights, build, head_name, starting_weights
from rsrl_ray.vision.on_device import NetworkOnDevice
from rsrl_ray.vision.trainer import NetworkTrainer

RULE, LOSS = {"quantile": 0.2}, {"balanced": 0.5}


def rows(width: int = 6, sizes: tuple[int, ...] = (40, 30, 20, 10)) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Features whose classes overlap, and the names of the classes."""
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.repeat(np.arange(len(sizes)), sizes))
    features = generator.normal(0, 1, (len(labels), width)).astype(np.float32)
    features[np.arange(len(labels)), labels] += 2
    return features, np.array(["a", "b", "c", "d"])[labels]


class Learner:
    def __init__(self, trainer: NetworkTrainer, start: Weights) -> None:
        self.trainer, self.weights = trainer, start

    def learn(self, number: int, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
        self.weights = self.trainer.fit(self.weights, kept, number)
        return self.trainer.logits(self.weights)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_has_the_bits_of_a_networks_last_layer_on_the_same_features(precision: Any) -> None:
    network = config.Network("small", "none", 32)
    start = starting_weights(network, 4, [7, 0])
    width = build(network, 4).get_submodule(head_name(build(network, 4))).in_features
    features, names = rows(int(width))  # type: ignore[arg-type]
    features = features.astype(np.float16).astype(np.float32)
    labels = np.unique(names, return_inverse=True)[1]
    training = config.Training(trainable="head", epochs=2, batch_size=16, precision=precision)
    trained = NetworkOnDevice(network, training, 4, lambda: features)
    lesson = Lesson(labels, start.weights, np.arange(len(labels)), 7, loss=loss_of(LOSS, {}))
    learner = Learner(NetworkTrainer(lesson, trained), start.weights)
    expected = list(
        run_rounds(learner, labels, all_of(len(labels)), rule_of(RULE, 3, {}), Plan(3, config.Revision(), 7))
    )
    first = start.weights[f"{start.head}.weight"], start.weights[f"{start.head}.bias"]
    mine = rsrl.RSRLClassifier(RULE, LOSS, 3, epochs=2, batch_size=16, random_state=7)
    mine.fit(features, names, coef_init=first[0], intercept_init=first[1])
    assert (mine.coef_ == learner.weights[f"{start.head}.weight"]).all()
    assert (mine.intercept_ == learner.weights[f"{start.head}.bias"]).all()
    assert (mine.kept_ == [result.kept for result in expected]).all()
    assert not (mine.coef_ == first[0]).any()


def test_what_a_fit_leaves() -> None:
    features, names = rows()
    fitted = rsrl.RSRLClassifier(RULE, LOSS, rounds=3, random_state=0).fit(features, names)
    assert fitted.kept_.shape == (3, 100) and fitted.kept_.sum(axis=1).tolist() == fitted.history_["kept"].tolist()
    assert fitted.history_["kept"].tolist() == [100, 82, 82]  # a fifth of the classes of 40, 30 and 20
    assert fitted.history_["round"].tolist() == [1, 2, 3]
    assert fitted.classes_.tolist() == ["a", "b", "c", "d"] and fitted.score(features, names) > 0.7
    assert fitted.predict_proba(features).sum(axis=1) == pytest.approx(1)
    assert (fitted.classes_[fitted.decision_function(features).argmax(axis=1)] == fitted.predict(features)).all()
    again = pickle.loads(pickle.dumps(clone(fitted).fit(features, names)))
    assert (again.coef_ == fitted.coef_).all()
    two = rsrl.RSRLClassifier(rounds=1, random_state=0).fit(features, names == "a")
    assert ((two.decision_function(features) > 0) == two.predict(features)).all()
    assert two.kept_.all()  # equal training


def test_a_weight_multiplies_the_loss_of_a_row() -> None:
    features, names = rows()

    def fitted(learning_rate: float, weight: NDArray[Any] | None) -> NDArray[np.float32]:
        model = rsrl.RSRLClassifier(loss=LOSS, rounds=2, learning_rate=learning_rate, weight_decay=0.0, random_state=0)
        return model.fit(features, names, sample_weight=weight).coef_  # type: ignore[no-any-return]

    ones = np.ones(100)
    assert (fitted(0.01, 2 * ones) == fitted(0.02, None)).all()
    assert (fitted(0.01, ones) == fitted(0.01, None)).all()
    assert not (fitted(0.01, np.where(names == "a", 3, 1)) == fitted(0.01, None)).any()


@dataclass(frozen=True)
class Sure:
    """A rule from a notebook's cell: in one process it needs no module."""

    looks_back = 1
    recalls = False

    def drops(self, seen: Seen) -> NDArray[np.bool_]:
        return seen.labels == seen.majority[0]


def test_rules_and_losses_are_objects_too() -> None:
    features, names = rows()
    own = rsrl.RSRLClassifier(Sure(), rsrl.losses.Focal(), rounds=2, random_state=0).fit(features, names)
    assert own.kept_[1].sum() == 65 and own.history_["guarded"].tolist() == [False, True]  # 5 of the 40 stay
    for knobs, said in (
        ({"rule": {"quantil": 0.2}}, "no rule in quantil"),
        ({"loss": {"my.Loss": {}}}, "loss: my.Loss, but the module my is not"),
    ):
        with pytest.raises(ValueError, match=said):
            rsrl.RSRLClassifier(**knobs).fit(features, names)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"rounds": 0}, "'rounds' parameter of RSRLClassifier must be an int in the range .1, inf"),
        ({"rounds": 2.5}, "'rounds' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"learning_rate": 0}, "'learning_rate' parameter"),
        ({"min_kept": 2}, "'min_kept' parameter"),
        ({"membership": "softmx"}, "'membership' parameter .*'softmax'"),
        ({"rule": "quantile"}, "rule: 'quantile'; give knobs, such as"),
        ({"rule": rsrl.rules.Quantile}, "rule: <class"),
        ({"rule": {"soft": 0.9}}, "rule: soft weights .*: it gives photos weights, which only a sweep uses; give one"),
        ({"loss": "focal"}, "loss: 'focal'; give knobs, such as"),
        ({"loss": rsrl.losses.Focal}, "loss: <class"),
    ],
)
def test_a_parameter_out_of_its_range_is_told_at_the_fit(knobs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rsrl.RSRLClassifier(**knobs).fit(*rows())


def test_a_diverging_fit_names_its_own_parameter() -> None:
    with pytest.raises(ValueError, match=r"is not finite \(learning_rate 1e\+30\): scale the features") as error:
        rsrl.RSRLClassifier(learning_rate=1e30, random_state=0).fit(*rows())
    assert "training." not in str(error.value)


def test_it_works_in_a_pipeline_a_search_and_a_cross_validation() -> None:
    features, names = rows()
    model = make_pipeline(StandardScaler(), rsrl.RSRLClassifier(rounds=2, random_state=0))
    assert cross_val_score(model, features, names, cv=3).min() > 0.5
    search = GridSearchCV(model, {"rsrlclassifier__rule": [None, RULE, rsrl.rules.Quantile(0.5)]}, cv=2)
    assert np.isfinite(search.fit(features, names).cv_results_["mean_test_score"]).all()


@pytest.mark.slow
def test_scikit_learns_own_checks() -> None:
    expected: Mapping[str, str] = rsrl.RSRLClassifier.expected_failed_checks
    assert list(expected) == ["check_sample_weight_equivalence_on_dense_data"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(rsrl.RSRLClassifier(rounds=2, random_state=0), expected_failed_checks=dict(expected))
    assert [result["check_name"] for result in results if result["status"] == "xfail"] == list(expected)
