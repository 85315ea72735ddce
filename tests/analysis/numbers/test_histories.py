"""Lists of photos and histories of single ones, of the sweep made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from analysis.numbers.test_comparisons import few

from rsrl_ray.analysis.numbers.histories import course, fold_words, history
from rsrl_ray.analysis.page.album import lists, longest
from rsrl_ray.analysis.page.sparkline import sparkline
from rsrl_ray.analysis.sweep.arrays import Sweep
from rsrl_ray.analysis.sweep.rows import OnDemand
from rsrl_ray.core.trial import TrialKey

NAN = np.nan


def test_what_was_never_kept_is_not_listed_as_dropped_most(by_hand: Sweep) -> None:
    found = lists(by_hand, ["paper", "none", "late"])
    assert list(found) == ["paper"]  # the others drop nothing
    never, most, back = found["paper"]
    assert (never.count, never.rows) == (1, (6,))  # in the one fold that trains on it: dropped in rounds 2 and 3
    assert (most.count, most.rows) == (2, (0, 3))  # 1 of 2, 1 of 4
    assert (back.count, back.rows) == (2, (0, 3))


def test_a_method_that_begins_to_drop_later_has_photos_that_it_never_kept(by_hand: Sweep) -> None:
    kept = by_hand.trials[1, "paper"].kept
    kept[1, 0], kept[2, [0, 3]] = True, False  # fold 1 drops nothing in round 2, then photos 0 and 3
    never, most, _ = lists(by_hand, ["paper"])["paper"]
    assert sorted(never.rows) == [0, 6] and most.rows == (3,)  # fold 0 has kept photo 3 in its last round


def test_lists_of_a_method_that_lacks_rounds_say_so(by_hand: Sweep) -> None:
    assert not any(listed.heading.endswith(" so far") for listed in lists(by_hand, ["paper"])["paper"])
    part = few(by_hand, TrialKey(1, "paper"), 2)
    assert all(listed.heading.endswith(" so far") for listed in lists(part, ["paper"])["paper"])


@pytest.mark.parametrize(("methods", "photos"), [(0, 8), (1, 8), (8, 8), (11, 6), (50, 2)])
def test_lists_are_the_shorter_the_more_there_are(methods: int, photos: int) -> None:
    assert longest(methods) == photos


def test_lists_are_cut_and_count_all(by_hand: Sweep) -> None:
    for trial in by_hand.trials.values():
        trial.kept[1:, trial.split == 0] = False
    never, most, back = lists(by_hand, ["paper", "none"])["none"]
    assert (never.count, len(never.rows)) == (11, 8) and most.rows == back.rows == ()
    assert never.rows[:3] == (0, 1, 3)  # the least confident first; photo 2 is a validation photo


def test_the_history_and_the_course_of_photos(by_hand: Sweep) -> None:
    by_hand.trials[1, "paper"].predicted[2, 6] = 5
    by_hand.trials[1, "paper"].self_confidence[2, 6] = 0.9
    dropped, back, validation = range(3)
    found, seen = history(by_hand, "paper", [6, 0, 2]), course(by_hand, "paper", [6, 0, 2])
    assert [found.folds[dropped], found.dropping[dropped], found.times[dropped], found.of[dropped]] == [1, 1, 2, 2]
    assert (found.returned[dropped], found.assigned[dropped], seen.as_test[dropped]) == (0, 3, 5)
    np.testing.assert_allclose(seen.trained[dropped], [0.4] * 3, rtol=1e-6)
    np.testing.assert_allclose(seen.tested[dropped], [0.4, 0.4, 0.9], rtol=1e-6)
    assert found.dropped[dropped].tolist() == [0, 1, 1]
    assert (found.times[back], found.of[back], found.returned[back]) == (1, 2, 1)
    assert (found.folds[validation], found.of[validation], found.assigned[validation]) == (0, 0, -1)
    assert (seen.tests.tolist(), seen.as_test[validation]) == ([1, 1, 0], -1)
    assert np.isnan([found.dropped[validation], seen.trained[validation], seen.tested[validation]]).all()


def test_the_history_over_folds_is_their_mean(by_hand: Sweep) -> None:
    by_hand.trials[1, "paper"].self_confidence[:, 3] = [0.75, 0.35, 0.25]
    by_hand.trials[1, "paper"].predicted[2, 3] = 5
    found, seen = history(by_hand, "paper", [3]), course(by_hand, "paper", [3])
    assert [found.folds, found.dropping, found.times, found.of, found.returned] == [[2], [1], [1], [4], [1]]
    np.testing.assert_allclose(seen.trained, [[0.5, 0.3, 0.25]], rtol=1e-6)
    assert found.dropped.tolist() == [[0, 0.5, 0]]
    assert found.assigned == [3]  # one fold each: the lower
    assert np.isnan(seen.tested).all()


def test_the_history_of_some_photos_is_that_of_all(by_hand: Sweep) -> None:
    whole, some = history(by_hand, "paper"), history(by_hand, "paper", [6, 3])
    for name, values in vars(some).items():
        np.testing.assert_array_equal(values, getattr(whole, name)[[6, 3]])


def test_folds_in_words(by_hand: Sweep) -> None:
    assert fold_words(by_hand, 6) == "test photo of fold 1; training photo of fold 0"
    assert fold_words(by_hand, 2) == "validation photo of folds 0, 1"
    assert fold_words(by_hand, 11) == "training photo of folds 0, 1"


def test_a_line_of_literal_rounds() -> None:
    drawn = sparkline(np.array([1, 0.5, NAN, 0]), np.array([0, 1, 0.5, 0.01]), np.array([NAN, NAN, NAN, 1]))
    assert drawn.line == "M12 2h0L38 12M88 22h0"  # 1 lies at 2, 0 at 22
    assert drawn.tested == "M88 2h0"
    assert drawn.marks == "M38 32v-8M62 32v-4M88 32v-1"  # the least that was dropped is seen
    assert drawn.words == "self-confidence by round: 1.00, 0.50, none, 0.00; dropped in round 2, 3, 4"


def test_a_line_of_one_round_is_a_dot() -> None:
    drawn = sparkline(np.array([0.25]), np.array([0.0]))
    assert (drawn.line, drawn.tested, drawn.marks) == ("M50 17h0", "", "")
    assert drawn.words == "self-confidence by round: 0.25"


def test_each_round_of_a_large_sweep_is_read_once(by_hand: Sweep) -> None:
    """A thousand trials of 30 rounds are 30,000 files."""
    read: list[tuple[int, int]] = []
    trials = {
        key: replace(
            trial,
            self_confidence=OnDemand(
                3, lambda number, trial=trial: (read.append((trial.fold, number)), trial.self_confidence[number - 1])[1]
            ),
        )
        for key, trial in by_hand.trials.items()
        if key.method == "paper"
    }
    found = course(replace(by_hand, trials=trials), "paper", [0, 3, 8])
    assert read == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3)]
    np.testing.assert_array_equal(found.tested[2], course(by_hand, "paper", [8]).tested[0])
