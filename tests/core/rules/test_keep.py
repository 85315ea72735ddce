"""The rule that drops nothing."""

from core.rules.judged import confident, dropped

from rsrl_ray.core.rules.keep import Keep
from rsrl_ray.core.rules.rule import KEEPS


def test_all_photos_stay() -> None:
    assert dropped(Keep(), confident([0] * 9, [0.0] * 9)) == []


def test_it_keeps_all_in_every_revision() -> None:
    assert [Keep().at(revision) for revision in (1, 2, 30)] == [KEEPS] * 3
    assert str(Keep()) == "keeps all"
