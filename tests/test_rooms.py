"""The wings stay as small as a person can hold in the head; `lint-imports` proves which way the arrows go."""

from rooms import rooms_and_arrows


def test_the_wings_of_the_analysis() -> None:
    rooms, arrows = rooms_and_arrows("rsrl_ray.analysis")
    assert rooms == {"report", "page", "figures", "tables", "numbers", "sweep"}
    assert len(arrows) <= 14
