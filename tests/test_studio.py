"""Plots come out the same whatever the surroundings, and none costs another."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import matplotlib as mpl
import pytest
from matplotlib.figure import Figure
from some_plots import sample

from nnt import plots
from nnt.metrics import Predictions
from nnt.plots import Drawing, Studio, registry, studio
from nnt.plots.studio import _is_of_nnt

CODE = """
import hashlib
from nnt import plots  # first, as whoever imports matplotlib gets its settings
from some_plots import sample
pictures = plots.draw_all(0, ((d.name, d) for d in plots.drawings_of_rows(sample(60))))
print(hashlib.sha256(b"".join(pictures.values())).hexdigest(), *pictures)
"""
HOSTILE_RC = """
text.usetex: True
backend: nonsense
font.size: 40
savefig.facecolor: red
axes.prop_cycle: cycler('color', ['#ff00ff'])
savefig.bbox: tight
no.such.key: 1
"""


def drawn(folder: Path, **settings: str) -> tuple[str, str]:
    """Digest of pictures drawn in a process with these variables, and its stderr."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MPL", "MATPLOT"))}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False,
        cwd=folder, env=kept | {"PYTHONPATH": path} | settings,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_settings_of_the_user_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "rc").mkdir()
    (tmp_path / "rc" / "matplotlibrc").write_text(HOSTILE_RC)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    usual, _ = drawn(tmp_path)
    assert "z_histogram" in usual
    for settings in (
        {"MPLCONFIGDIR": str(tmp_path / "rc"), "MPLBACKEND": "nonsense"},
        {
            "MATPLOTLIBRC": str(tmp_path / "binary"),
            "MPLCONFIGDIR": "/proc/nowhere",
            "MPLBACKEND": "module://not_installed.backend_inline",
        },
    ):
        assert drawn(tmp_path, **settings) == (usual, ""), settings


@pytest.fixture
def large_print() -> Iterator[None]:
    """A setting of the program around."""
    before = dict(mpl.rcParams)
    mpl.rcParams["font.size"] = 33.0
    yield
    mpl.rcParams.update(before)


@pytest.mark.usefixtures("large_print")
def test_settings_of_the_program_around_are_left_as_they_were() -> None:
    figure, axes = plots.canvas("title")
    with plots.default_style():
        assert mpl.rcParams["font.size"] == 10
    plots.png(figure)
    assert mpl.rcParams["font.size"] == 33
    assert axes.xaxis.get_ticklabels()[0].get_fontsize() == 9


@pytest.mark.usefixtures("large_print")
def test_settings_come_back_when_the_last_thread_has_drawn() -> None:
    first_is_in, second_is_out = threading.Event(), threading.Event()
    seen: list[float] = []

    def first() -> None:
        with plots.default_style():
            first_is_in.set()
            second_is_out.wait(10)
            seen.append(mpl.rcParams["font.size"])

    thread = threading.Thread(target=first)
    thread.start()
    first_is_in.wait(10)
    with plots.default_style():
        pass
    second_is_out.set()
    thread.join()
    assert seen == [10]
    assert mpl.rcParams["font.size"] == 33


def test_a_plot_that_fails_costs_that_plot_alone_and_is_named_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(registry, "_PLOTS", dict(registry._PLOTS))

    @plots.register("broken")
    def broken(predicted: Predictions) -> Figure:
        raise ZeroDivisionError("of a user")

    @plots.register("broken_when_rendered")
    def broken_late(predicted: Predictions) -> Figure:
        figure, axes = plots.canvas("title")
        axes.set_title("$\\frac{$")  # no such mathematics
        return figure

    @plots.register("asked_in_vain", when=lambda predicted: 1 / 0 > 0)
    def never(predicted: Predictions) -> Figure:
        raise AssertionError

    with caplog.at_level(logging.WARNING, logger="nnt"):
        drawings = plots.draw_all(
            0,
            (
                ((drawing.name, n), drawing)
                for n in (50, 60)
                for drawing in plots.drawings_of_rows(sample(n))
            ),
        )
    names = {name for name, _ in drawings}
    assert {"z_residual", "z_histogram", "z_against_reco"} <= names
    assert not names & {"broken", "broken_when_rendered", "asked_in_vain"}
    for name in ("broken", "broken_when_rendered", "asked_in_vain"):
        (told,) = [r for r in caplog.records if f"plot {name} " in r.getMessage()]
        assert "Error" in told.getMessage()


def fails(data: object) -> Figure:
    raise ZeroDivisionError("of a user")


def mine(data: object) -> Figure:
    return plots.canvas(str(data))[0]


def pictures(opened: Studio[int], drawings: Iterable[Drawing]) -> dict[int, bytes]:
    for number, drawing in enumerate(drawings):
        opened.add(number, drawing)
    return dict(opened.drawn())


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "usable_cores", lambda: 2)


@pytest.mark.usefixtures("two_cores")
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
        assert pictures(opened, whole) == {i: d.png() for i, d in enumerate(whole)}
        for _ in range(2):  # a plot is named once, whatever its pictures
            assert pictures(opened, [broken, Drawing("here", fails, None)]) == {}
    told = sorted(record.getMessage() for record in caplog.records)
    assert [text.split()[1] for text in told] == ["elsewhere", "here"]
    assert "ZeroDivisionError: of a user" in told[1]


def test_plots_of_nnt_can_be_sent_and_those_of_users_cannot() -> None:
    for plot in plots.registered():
        assert _is_of_nnt(plot.plot), plot.name
    assert not _is_of_nnt(fails)
    assert not _is_of_nnt(lambda data: fails(data))


@pytest.mark.usefixtures("two_cores")
def test_processes_that_end_early_lose_no_plot() -> None:
    drawings = plots.drawings_of_rows(sample(50))[:6]
    with Studio[int](1000) as opened:
        for process in opened._processes:
            os.killpg(process.pid, signal.SIGKILL)
        assert list(pictures(opened, drawings).values()) == [d.png() for d in drawings]


@pytest.mark.usefixtures("two_cores")
def test_a_few_plots_need_no_other_process() -> None:
    with Studio[int](3) as opened:
        assert not opened._processes


@pytest.mark.usefixtures("two_cores")
def test_an_error_ends_the_processes_at_once() -> None:
    opened, drawing = Studio[int](1000), plots.drawings_of_rows(sample(50))[0]
    for number in range(200):
        opened.add(number, drawing)
    with pytest.raises(ZeroDivisionError), opened:
        raise ZeroDivisionError
    assert all(process.poll() is not None for process in opened._processes)
