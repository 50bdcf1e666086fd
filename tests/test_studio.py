"""Plots drawn in other processes are those drawn here, and nothing loses one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from functools import partial

import pytest
from matplotlib.figure import Figure
from some_plots import sample

from nnt import plots
from nnt.plots import Drawing, Studio, studio
from nnt.plots.studio import _is_of_nnt


def fails(data: object) -> Figure:
    raise ZeroDivisionError("of a user")


def mine(data: object) -> Figure:
    return plots.canvas(str(data))[0]


def drawn(opened: Studio[int], drawings: Iterable[Drawing]) -> dict[int, bytes]:
    for number, drawing in enumerate(drawings):
        opened.add(number, drawing)
    return dict(opened.drawn())


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "usable_cores", lambda: 2)


def test_pictures_are_the_same_to_the_byte_and_failures_are_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    drawings = plots.drawings_of_rows(sample(300), plots.EVALUATION, "run · data")
    whole = [*drawings, Drawing("mine", mine, "title")]
    broken = Drawing(
        "elsewhere", partial(plots.input_histograms, title=""), "no profiles"
    )
    with Studio[int](1000) as opened:
        assert len(opened._pipes) == 2
        assert drawn(opened, whole) == {i: d.png() for i, d in enumerate(whole)}
        for _ in range(2):  # a plot is named once, whatever its pictures
            assert drawn(opened, [broken, Drawing("here", fails, None)]) == {}
    told = sorted(record.getMessage() for record in caplog.records)
    assert [text.split()[1] for text in told] == ["elsewhere", "here"]
    assert "ZeroDivisionError: of a user" in told[1]


def test_plots_of_nnt_can_be_sent_and_those_of_users_cannot() -> None:
    for plot in plots.registered():
        assert _is_of_nnt(plot.plot), plot.name
    assert not _is_of_nnt(fails)
    assert not _is_of_nnt(lambda data: fails(data))


def test_processes_that_end_early_lose_no_plot() -> None:
    drawings = plots.drawings_of_rows(sample(50))[:6]
    with Studio[int](1000) as opened:
        for process in opened._processes:
            os.killpg(process.pid, signal.SIGKILL)
        assert list(drawn(opened, drawings).values()) == [d.png() for d in drawings]


def test_a_few_plots_need_no_other_process() -> None:
    with Studio[int](3) as opened:
        assert not opened._processes


def test_an_error_ends_the_processes_at_once() -> None:
    opened, drawing = Studio[int](1000), plots.drawings_of_rows(sample(50))[0]
    for number in range(200):
        opened.add(number, drawing)
    with pytest.raises(ZeroDivisionError), opened:
        raise ZeroDivisionError
    assert all(process.poll() is not None for process in opened._processes)
