"""Repetitive self-revised learning as an estimator of scikit-learn, on features that a user has."""

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from rsrl_ray.config import Revision, Training
from rsrl_ray.core.likelihood import Membership
from rsrl_ray.core.metrics import confusion_matrix, macro_f1
from rsrl_ray.core.rules.rule import Rule
from rsrl_ray.parts import as_loss, as_rule
from rsrl_ray.rounds.loop import Plan, RoundResult, run_rounds
from rsrl_ray.vision.lesson import NotFinite
from rsrl_ray.vision.linear import BIAS, WEIGHT, LinearLearner, all_of
from rsrl_ray.vision.losses import Loss


class RSRLClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A softmax classifier on features [n, d]. It is trained in rounds, each on the rows that the rule keeps.

    It is what a sweep trains with ``training: {trainable: head, precision: fp32}``: the bits are the same for the same
    features, seed and first weights, if the network has no dropout before its last layer. Scale the features first.

    Parameters
    ----------
    rule : which rows the next round leaves out: a rule of `rsrl_ray.rules`, an object of your own class derived from
        `rsrl_ray.rules.Rule`, or as in an experiment file, ``{"quantile": 0.2}``. None drops nothing: equal training.
    loss : what a step minimises: a loss of `rsrl_ray.losses`, any object that is called like one, or as in a file,
        ``{"balanced": 0.5}``. None: cross-entropy.
    rounds : how many rounds, 1 or more. Each starts from the weights of the round before; the last one predicts.
    epochs, batch_size, learning_rate, weight_decay : of each round, see `rsrl_ray.config.Training`. The optimizer is
        SGD with momentum 0.9.
    majority_classes : how many of the largest classes are revised; all classes if there are fewer.
    membership, min_kept : see `rsrl_ray.config.Revision`.
    random_state : the seed of the first weights, of the order of rows, and of rules that draw at random.

    Attributes
    ----------
    classes_ : [C]. coef_ : [C, d]. intercept_ : [C]. n_features_in_ : d.
    kept_ : [rounds, n] bool, the rows that each round was trained on.
    history_ : one row for each round: round, kept, returned, guarded, and accuracy and macro_f1 on all training rows.
    """

    expected_failed_checks: ClassVar[Mapping[str, str]] = {
        "check_sample_weight_equivalence_on_dense_data": "a row that is given twice may be in two minibatches; a row "
        "of weight 2 is in one"
    }

    _parameter_constraints: ClassVar[Mapping[str, list[Any]]] = {
        **{
            name: [Interval(Integral, 1, None, closed="left")]
            for name in ("rounds", "epochs", "batch_size", "majority_classes")
        },
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "min_kept": [Interval(Real, 0, 1, closed="both")],
        "membership": [StrOptions(set(get_args(Membership)))],
        "random_state": ["random_state"],
    }

    def __init__(  # noqa: PLR0913 as scikit-learn has it
        self,
        rule: "Rule | Mapping[str, Any] | None" = None,
        loss: "Loss | Mapping[str, Any] | None" = None,
        rounds: int = 30,
        *,
        epochs: int = 5,
        batch_size: int = 32,
        learning_rate: float = 0.01,
        weight_decay: float = 0.0001,
        majority_classes: int = 3,
        membership: str = "sigmoid",
        min_kept: float = 0.01,
        random_state: "int | np.random.RandomState | None" = None,
    ) -> None:
        self.rule = rule
        self.loss = loss
        self.rounds = rounds
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.majority_classes = majority_classes
        self.membership = membership
        self.min_kept = min_kept
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,  # noqa: N803
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        coef_init: ArrayLike | None = None,
        intercept_init: ArrayLike | None = None,
    ) -> "RSRLClassifier":
        """Train all rounds on features [n, d] and classes [n].

        sample_weight : [n], by which the loss of each row is multiplied. coef_init [C, d], intercept_init [C] : the
        first weights; by default they are drawn.

        Raises
        ------
        ValueError
            If a parameter is out of its range, X and y do not fit each other, or the training diverges.
        """
        self._validate_params()
        X, y = validate_data(self, X, y, dtype=np.float32)  # noqa: N806
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y has one class, {self.classes_[0]!r}; give samples of two classes or more")
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float32)
        seed, settings = self._seed(), self._settings()
        rule = as_rule({} if self.rule is None else self.rule, settings.majority_classes)
        loss = as_loss({} if self.loss is None else self.loss)
        learner = LinearLearner(
            self._training(), np.ascontiguousarray(X), labels, seed=seed, loss=loss, weights=weights
        )
        if coef_init is not None and intercept_init is not None:
            first = (np.array(given, dtype=np.float32) for given in (coef_init, intercept_init))
            learner.start(*first)
        kept, rows = [], []
        try:
            for result in run_rounds(learner, labels, all_of(len(labels)), rule, Plan(self.rounds, settings, seed)):
                kept.append(result.kept)
                rows.append(_row(result, labels))
        except NotFinite as error:
            raise ValueError(
                f"{error.what} is not finite (learning_rate {self.learning_rate:g}): scale the features, or give a "
                "smaller learning_rate"
            ) from error
        self.kept_ = np.stack(kept)
        self.history_ = pd.DataFrame(rows)
        self.coef_, self.intercept_ = learner.weights[WEIGHT], learner.weights[BIAS]
        return self

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """The logits [n, C]; if there are two classes, the second logit minus the first, [n]."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        """The probability of each class, [n, C]: the softmax of the logits."""
        return np.asarray(softmax(self._logits(X), axis=1))

    def predict(self, X: ArrayLike) -> NDArray[Any]:  # noqa: N803
        """The class of the largest logit, [n]."""
        assigned = self._logits(X).argmax(axis=1)
        return np.asarray(self.classes_[assigned])

    def _logits(self, X: ArrayLike) -> NDArray[np.float64]:  # noqa: N803
        check_is_fitted(self)
        rows = validate_data(self, X, reset=False, dtype=np.float32).astype(np.float64)
        return np.asarray(rows @ self.coef_.T.astype(np.float64) + self.intercept_)

    def _training(self) -> Training:
        return Training(
            trainable="head",
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            head_factor=1.0,
            weight_decay=self.weight_decay,
            precision="fp32",
        )

    def _settings(self) -> Revision:
        majority: Any = min(self.majority_classes, len(self.classes_))
        membership: Any = self.membership
        return Revision(membership=membership, majority_classes=majority, min_kept=self.min_kept)

    def _seed(self) -> int:
        given = self.random_state
        return int(given) if isinstance(given, int | np.integer) else int(check_random_state(given).randint(2**31 - 1))


def _row(result: RoundResult, labels: NDArray[np.int64]) -> dict[str, Any]:
    counts = confusion_matrix(labels, result.logits.argmax(axis=1), result.logits.shape[1])
    return {
        "round": result.number,
        "kept": int(result.kept.sum()),
        "returned": int(result.returned.sum()),
        "guarded": result.revision is not None and bool(result.revision.guarded),
        "accuracy": float(np.trace(counts) / counts.sum()),
        "macro_f1": macro_f1(counts),
    }
