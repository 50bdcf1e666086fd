"""Plots drawn in other processes are those drawn here, and nothing loses one."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
from matplotlib.figure import Figure

from nnt import plots
from nnt.metrics import Predictions
from nnt.plots import Drawing, Studio, registry, studio
from nnt.plots.studio import _is_of_nnt, render


def rows(n: int) -> Predictions:
    rng = np.random.default_rng(n)
    z_cm = rng.choice([0.4, 40], n) * rng.normal(size=n)
    return Predictions(
        z_reco_cm=z_cm, theta_reco_deg=z_cm + 90, z_cm=z_cm + rng.normal(0, 3, n),
        theta_deg=z_cm + 88, event=np.arange(n), expert=np.zeros(n, dtype=np.int64),
    )  # fmt: skip


def fails(data: object) -> Figure:
    raise ZeroDivisionError("of a user")


@pytest.fixture(scope="module")
def open_studio() -> Iterator[Studio]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio, "usable_cores", lambda: 2)
        with Studio(1000) as opened:
            yield opened


def test_pictures_are_the_same_to_the_byte(open_studio: Studio) -> None:
    assert len(open_studio._pipes) == 2
    drawings = plots.drawings_of_rows(rows(300), plots.EVALUATION, "run · data")
    futures = [open_studio.submit(drawing) for drawing in drawings]
    assert [f.result() for f in futures] == [render(d) for d in drawings]


def test_plots_of_nnt_can_be_sent_and_those_of_users_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for own in registry.registered():
        assert _is_of_nnt(own.plot), own.name
    assert not _is_of_nnt(fails)
    assert not _is_of_nnt(lambda data: fails(data))


def test_plots_of_users_are_drawn_here(open_studio: Studio) -> None:
    def mine(data: object) -> Figure:
        return plots.canvas(str(data))[0]

    drawing = Drawing("mine", mine, "title")
    assert open_studio.submit(drawing).result() == render(drawing)


def test_a_plot_that_fails_in_either_place_is_named(
    open_studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Drawing(
        "elsewhere", partial(plots.input_histograms, title=""), "no profiles"
    )
    with caplog.at_level(logging.WARNING, logger="nnt"):
        assert open_studio.submit(broken).result() is None
        assert open_studio.submit(Drawing("here", fails, None)).result() is None
    told = [record.getMessage() for record in caplog.records]
    assert [text.split()[1] for text in told] == ["elsewhere", "here"]
    assert "ZeroDivisionError: of a user" in told[1]


def test_processes_that_end_early_lose_no_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "usable_cores", lambda: 2)
    drawings = plots.drawings_of_rows(rows(50))[:6]
    with Studio(1000) as opened:
        for process in opened._processes:
            os.killpg(process.pid, signal.SIGKILL)
        futures = [opened.submit(drawing) for drawing in drawings]
        assert [f.result() for f in futures] == [render(d) for d in drawings]


def test_a_few_plots_need_no_other_process() -> None:
    with Studio(3) as opened:
        assert not opened._processes


def test_an_error_ends_the_processes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "usable_cores", lambda: 2)
    drawing = plots.drawings_of_rows(rows(50))[0]
    opened = Studio(1000)
    for _ in range(200):
        opened.submit(drawing)
    opened.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert all(process.poll() is not None for process in opened._processes)
