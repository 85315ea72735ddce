"""Rules and losses, of the words and knobs of a user."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rsrl_ray.core.own import Own, is_own, module_of, source_of
from rsrl_ray.core.rules.keep import Keep
from rsrl_ray.core.rules.own import OwnRule
from rsrl_ray.core.rules.rule import Rule
from rsrl_ray.core.rules.table import RULES
from rsrl_ray.core.schedule import make_schedule
from rsrl_ray.core.value import make
from rsrl_ray.vision.losses import CROSS_ENTROPY, LOSSES, Loss
from rsrl_ray.vision.own_loss import OwnLoss


def loss_of(knobs: Mapping[str, Any], modules: Mapping[str, str]) -> Loss:
    """The loss of these knobs; the cross-entropy without knobs. modules : sources by name. Raises ValueError."""
    if not knobs:
        return CROSS_ENTROPY
    return OwnLoss(Own.of(knobs, modules)) if is_own(knobs) else make(knobs, LOSSES, "loss")


def rule_of(knobs: Mapping[str, Any], majority_classes: int, modules: Mapping[str, str]) -> Rule:
    """The rule of these knobs; it keeps all without knobs. modules : sources by name. Raises ValueError."""
    if not knobs:
        return Keep()
    if is_own(knobs):
        return OwnRule(Own.of(knobs, modules))
    if "thresholds" in knobs:  # one K may stand for all majority classes, but a rule does not know their number
        steps = knobs["thresholds"]
        if not isinstance(steps, Mapping):
            raise ValueError(f"thresholds: {steps!r}; give steps, such as {{1: 0.9}}")
        knobs = {**knobs, "thresholds": make_schedule(steps, majority_classes)}
    return make(knobs, RULES, "rule")


def as_rule(given: Any, majority_classes: int) -> Rule:
    """The rule that a user gave in Python: an object with ``drops``, or knobs as in a file. Raises ValueError."""
    if isinstance(given, Mapping):
        rule = rule_of(given, majority_classes, _sources(given, "rule"))
        if isinstance(rule, OwnRule):
            rule.check()
        return _without_weights(rule)
    if isinstance(given, type) or not callable(getattr(given, "drops", None)):
        raise ValueError(f'rule: {given!r}; give knobs, such as {{"quantile": 0.2}}, or an object: rules.Quantile(0.2)')
    lacking = [name for name in ("looks_back", "recalls") if not hasattr(given, name)]
    if lacking:
        raise ValueError(
            f"rule: {given!r} has no {' and no '.join(lacking)}; derive its class from rsrl_ray.rules.Rule"
        )
    return _without_weights(given)


def _without_weights(rule: Rule) -> Rule:
    """The rule, which gives no weights. Raises ValueError."""
    if getattr(rule, "weighs", False):  # an object of a user's own class may lack it
        raise ValueError(f"rule: {rule}: it gives photos weights, which only a sweep uses; give one that drops photos")
    return rule


def as_loss(given: Any) -> Loss:
    """The loss that a user gave in Python: an object that can be called as `Loss`, or knobs. Raises ValueError."""
    if isinstance(given, Mapping):
        loss = loss_of(given, _sources(given, "loss"))
        if isinstance(loss, OwnLoss):
            loss.check()
        return loss
    if isinstance(given, type) or not callable(given):
        raise ValueError(
            f'loss: {given!r}; give knobs, such as {{"balanced": 0.5}}, or an object: losses.Balanced(0.5)'
        )
    return given  # type: ignore[no-any-return]


def _sources(knobs: Mapping[str, Any], what: str) -> dict[str, str]:
    """The sources of modules that knobs name by import paths, in the working folder or installed."""
    found = {}
    for path in knobs if is_own(knobs) else ():
        name = module_of(path)
        source = source_of(name, Path.cwd())
        if source is None:
            raise ValueError(
                f"{what}: {path}, but the module {name} is not in the working folder, and it is not installed; give "
                "the object itself, such as Mine(0.2)"
            )
        found[name] = source
    return found
