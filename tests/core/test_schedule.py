"""Thresholds by number of revision."""

import pytest

from rsrl_ray.core.schedule import Schedule, make_schedule


def test_the_papers_schedule_holds_each_step_until_the_next() -> None:
    schedule = make_schedule({1: 0.9, 3: 0.95})
    assert [schedule.thresholds(revision) for revision in (1, 2, 3, 4, 30)] == [
        (0.9, 0.9, 0.9),
        (0.9, 0.9, 0.9),
        (0.95, 0.95, 0.95),
        (0.95, 0.95, 0.95),
        (0.95, 0.95, 0.95),
    ]


def test_nothing_is_dropped_before_the_first_step() -> None:
    schedule = make_schedule({3: [0.95, 0.9]}, majority_classes=2)
    assert [schedule.thresholds(revision) for revision in (1, 2, 3)] == [(0.0, 0.0), (0.0, 0.0), (0.95, 0.9)]


def test_one_threshold_for_each_majority_class_keeps_its_place() -> None:
    assert make_schedule({1: [0.95, 0.9, 0.85]}).thresholds(1) == (0.95, 0.9, 0.85)


def test_the_order_of_writing_and_the_way_of_writing_do_not_matter() -> None:
    expected = Schedule(((1, (0.5, 0.5)), (4, (1.0, 1.0))))
    assert make_schedule({4: 1, 1: 0.5}, 2) == expected
    assert make_schedule({1: [0.5, 0.5], 4: (1, 1.0)}, 2) == expected


def test_the_ends_of_the_range_are_allowed() -> None:
    assert make_schedule({1: [0, 1]}, 2).thresholds(1) == (0.0, 1.0)


def test_revisions_are_counted_from_one() -> None:
    with pytest.raises(AssertionError):
        make_schedule({1: 0.9}).thresholds(0)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({}, "a schedule needs at least one step"),
        ({0: 0.9}, "revision: 0; give a whole number, 1 or more"),
        ({-2: 0.9}, "revision: -2; give a whole number, 1 or more"),
        ({1: [0.9, 0.9]}, r"revision 1: 2 thresholds \[0.9, 0.9\] for 3 majority classes; give one K for all, or 3"),
        ({1: []}, r"revision 1: 0 thresholds \[\] for 3 majority classes"),
        ({1: 0.5, 2: 1.01}, "revision 2: K: 1.01; give a number, 0 to 1"),
        ({1: -0.01}, "revision 1: K: -0.01; give a number, 0 to 1"),
        ({1: [0.9, 0.9, float("nan")]}, "revision 1: K: nan; give a number, 0 to 1"),
    ],
)
def test_a_wrong_schedule_is_refused(steps: dict[int, float | list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_schedule(steps)


def test_in_words() -> None:
    schedule = make_schedule({1: 0.9, 3: [0.95, 1, 0.5]})
    assert str(schedule) == "from revision 1: 0.9, 0.9, 0.9; from revision 3: 0.95, 1.0, 0.5"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"1": 0.9}, "revision: '1'; give a whole number"),
        ({1: 0.9, "later": 0.95}, "revision: 'later'; give a whole number"),
        ({1.0: 0.9}, r"revision: 1\.0; give a whole number"),
        ({True: 0.9}, "revision: True; give a whole number"),
        ({1: None}, "revision 1: K: None; give a number, 0 to 1"),
        ({1: "0.9"}, "revision 1: K: '0.9'; give a number, 0 to 1"),
        ({1: [0.9, 0.9, None]}, "revision 1: K: None; give a number, 0 to 1"),
        ({1: {2: 0.9}}, r"revision 1: K: \{2: 0\.9\}; give a number, 0 to 1"),
    ],
)
def test_steps_whose_types_nobody_has_checked(steps: dict[int, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_schedule(steps)
