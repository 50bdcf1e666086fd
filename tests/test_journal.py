"""What comes in for curves is kept together, and is whole when it is delivered."""

from __future__ import annotations

from pathlib import Path

from nnt.tracking.journal import Journal


def test_epochs_that_come_together_are_one_operation(tmp_path: Path) -> None:
    journal = Journal()
    journal.keep_in(tmp_path / "spool", {"uri": "sqlite:///x", "run": "r"})
    for step in range(100):
        for run_id in ("a", "b"):
            journal.add_points(run_id, {"x": step / 3, "y": 0.5}, step, step)
    journal.add("a", "tags", values={"k": "v"})
    journal.add_points("a", {"x": float("nan"), "y": float("inf")}, 100, 7)
    waiting = journal.waiting()
    told = [(r.run_id, r.kind, r.n_points) for r in waiting]
    assert len(told) < 10
    assert told[-2:] == [("a", "tags", 0), ("a", "metrics", 2)]
    assert sum(n for _, _, n in told) == 402
    journal.close()
    found = Journal.reopen(tmp_path / "spool").waiting()
    assert repr([r.values for r in found]) == repr([r.values for r in waiting])
    assert [r.n_points for r in found] == [r.n_points for r in waiting]


def test_no_operation_has_more_points_than_a_server_takes(tmp_path: Path) -> None:
    journal = Journal()
    for step in range(1000):
        journal.add_points("a", {"x": 0.5, "y": 0.5, "z": 0.5}, step, step)
    sizes = [record.n_points for record in journal.waiting()]
    assert sum(sizes) == 3000
    assert max(sizes) <= 996


def test_an_operation_that_is_being_delivered_grows_no_more() -> None:
    journal = Journal()
    journal.add_points("a", {"x": 0.5}, 1, 1)
    (first,) = journal.waiting()
    journal.add_points("a", {"x": 0.5}, 2, 2)
    assert len(first.values["points"]) == 1
    journal.settle([first])
    (second,) = journal.waiting()
    assert second.values["points"] == [(2, 2, {"x": 0.5})]
