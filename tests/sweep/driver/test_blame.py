"""Whose fault it is that trials fail, event by event."""

from rsrl_ray.core.trial import TrialKey
from rsrl_ray.sweep.driver.blame import Blame

FIRM, NONE, LATER = TrialKey(0, "firm"), TrialKey(0, "none"), TrialKey(1, "none")
NODES = {"a", "b"}


def crashes(blame: Blame, trial: TrialKey, *nodes: str, number: int = 1) -> None:
    """The trial is started on one node after the other, and crashes in the same round each time."""
    for node in nodes:
        blame.started(trial, node, f"{trial} on {node}")
        blame.crashed(trial, number, "")


def test_a_crash_is_the_trials_unless_the_node_that_held_it_is_lost() -> None:
    blame = Blame()
    crashes(blame, FIRM, "spot 1", "spot 2", "a")
    lost = {"spot 1", "spot 2", *(f"another trial's, {number}" for number in range(20))}
    assert blame.own_crashes(FIRM, 1, lost=set()) == 3
    assert blame.own_crashes(FIRM, 1, lost) == 1
    crashes(blame, FIRM, "a", "b")
    assert blame.own_crashes(FIRM, 1, lost) == 3  # it has crashed by itself on nodes that are there
    assert blame.own_crashes(FIRM, 1, lost | {"a"}) == 1  # Ray may tell later that a node is lost


def test_crashes_are_counted_by_round_and_trial() -> None:
    blame = Blame()
    crashes(blame, FIRM, "a", "a")
    crashes(blame, FIRM, "a", number=2)
    crashes(blame, NONE, "a")
    assert [blame.own_crashes(FIRM, number, ()) for number in (1, 2, 3)] == [2, 1, 0]
    assert blame.own_crashes(NONE, 1, ()) == 1


def test_a_crash_before_there_was_a_process_is_on_the_node_that_is_told() -> None:
    blame = Blame()
    assert not blame.has_started(FIRM)
    blame.crashed(FIRM, 1, "a")
    assert (blame.own_crashes(FIRM, 1, {"a"}), blame.own_crashes(FIRM, 1, {"b"})) == (0, 1)
    blame.started(FIRM, "b", "1")
    assert blame.has_started(FIRM)
    blame.crashed(FIRM, 1, "a")
    assert (blame.own_crashes(FIRM, 1, {"a"}), blame.has_started(FIRM)) == (1, False)


def test_a_node_that_cannot_set_up_gets_no_more_trials() -> None:
    blame = Blame()
    blame.started(FIRM, "a", "1")
    assert blame.refused(FIRM, "a", "the disk is full", NODES)
    assert blame.out == {"a": "the disk is full"}
    blame.started(FIRM, "b", "2")
    blame.reported(FIRM)
    assert blame.out == {"a": "the disk is full"}
    assert blame.own_crashes(FIRM, 1, ()) == 0


def test_a_trial_that_comes_to_a_node_again_is_not_excused_again() -> None:
    blame = Blame()
    assert [blame.refused(FIRM, "a", "the disk is full", NODES) for _ in range(3)] == [True, False, False]
    assert blame.out == {"a": "the disk is full"}


def test_a_trial_that_no_node_can_set_up_is_at_fault_and_its_nodes_are_not() -> None:
    blame = Blame()
    assert blame.refused(FIRM, "a", "no such method", NODES)
    assert not blame.refused(FIRM, "b", "no such method", NODES)
    assert blame.out == {}


def test_nodes_that_cannot_set_up_a_second_trial_either_are_at_fault() -> None:
    blame = Blame()
    told = [blame.refused(trial, node, f"{trial}", NODES) for trial in (FIRM, NONE) for node in ("a", "b")]
    assert told == [True, False, True, True]
    assert blame.out == {"a": str(NONE), "b": str(NONE)}


def test_on_the_only_node_the_first_trial_is_at_fault_and_the_second_is_not() -> None:
    blame = Blame()
    assert [blame.refused(FIRM, "a", "", {"a"}) for _ in range(3)] == [False] * 3
    assert blame.out == {}
    assert blame.refused(NONE, "a", "the disk is full", {"a"})
    assert blame.out == {"a": "the disk is full"}


def test_a_new_process_that_reports_clears_its_node_and_one_that_was_there_does_not() -> None:
    blame = Blame()
    blame.started(FIRM, "a", "1")
    blame.reported(FIRM)
    blame.started(LATER, "a", "2")  # is being set up meanwhile
    assert blame.refused(NONE, "a", "the disk is full", NODES)
    blame.started(FIRM, "a", "1")  # takes up another trial, having its photos
    blame.reported(FIRM)
    assert blame.out == {"a": "the disk is full"}
    blame.reported(LATER)
    assert blame.out == {}
    blame.reported(LATER)  # a further round is no set-up
    assert blame.refused(NONE, "a", "the disk is full", NODES)
    blame.reported(LATER)
    assert blame.out == {"a": "the disk is full"}


def test_a_second_trial_counts_from_the_last_set_up_that_succeeded() -> None:
    blame = Blame()
    assert not blame.refused(FIRM, "a", "busy", {"a"})
    blame.started(LATER, "a", "1")
    blame.reported(LATER)
    assert not blame.refused(NONE, "a", "busy", {"a"})
    assert blame.out == {}


def test_a_node_that_has_gone_is_no_other_place_to_try() -> None:
    blame = Blame()
    assert blame.refused(FIRM, "a", "full", NODES)
    assert not blame.refused(FIRM, "b", "full", {"b"})  # a is lost


def test_a_process_that_was_killed_in_a_set_up_is_no_fault_of_its_node_but_a_second_one_is() -> None:
    blame = Blame()
    assert not blame.refused(FIRM, "a", "it died", NODES, died=True)
    blame.started(NONE, "a", "1")
    blame.reported(NONE)
    assert not blame.refused(FIRM, "a", "it died", NODES, died=True)
    assert blame.out == {}
    assert blame.refused(LATER, "a", "it died", NODES, died=True)
    assert blame.out == {"a": "it died"}
