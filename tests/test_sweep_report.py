"""The report of a sweep: its description, its pictures, and the spread over seeds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import nnt
from nnt import plots
from nnt.sweep import Trial, load_space
from nnt.sweep.report import by_configuration, describe_sweep, draw_sweep, spread
from nnt.sweep.settings import Settings

CONFIG = nnt.load_config("baseline_v2")
SPACE = load_space(
    {
        "learning_rate": {"log_uniform": [1e-4, 5e-2]},
        "act": {"choice": ["tanh/2", "relu"]},
        "seed": {"choice": [1, 2, 3]},
    },
    CONFIG,
)


def trial(
    number: int, loss: float | None, rate: float = 0.01, seed: int = 1, n: int = 1
) -> Trial:
    suggested = {"learning_rate": rate, "act": '"relu"', "seed": str(seed)}
    made = Trial(number, suggested, run_id=f"{number:032x}")
    if loss is None:
        made.state, made.epochs = "pruned", {1: 0.5, 2: 0.4}
    else:
        made.state, made.values = "complete", [loss, *range(number, number + n - 1)]
    return made


def settings_of(*metrics: str) -> Settings:
    return Settings(
        config=CONFIG, space=SPACE, trials=9, metrics=metrics, seed=1,
        directions=["minimize"] * len(metrics), sampler="tpe", pruner="median",
    )  # fmt: skip


def note_of(trials: list[Trial]) -> str:
    complete = [t for t in trials if t.state == "complete"]
    best = [min(complete, key=lambda t: t.values).number] if complete else []
    shares = {"val/loss": {"learning_rate": 0.7, "act": 0.2, "seed": 0.1}}
    settings = settings_of("val/loss")
    return describe_sweep(settings, trials, best, shares, "f" * 32, ["history"])


def test_the_description_says_what_is_best_and_what_came_of_all() -> None:
    trials = [trial(0, 0.3), trial(1, 0.1, 0.002), trial(2, None)]
    trials[0].state, trials[0].values = "failed", []
    note = note_of(trials)
    assert f"**Best: trial [1](#/runs/{1:032x}) with val/loss 0.1**" in note
    assert "`learning_rate=0.002`" in note
    assert "3 trials: 1 complete, 1 pruned, 1 failed; 6 were not started." in note
    assert "| `learning_rate` | 70% |" in note
    assert "![history](get-artifact?path=plots/history.png" in note


def test_nothing_complete_is_said_and_no_more() -> None:
    note = note_of([trial(0, None)])
    assert "No trial is complete" in note
    assert "|" not in note


@pytest.mark.parametrize(
    ("losses", "words"),
    [
        # Seeds of the best: 0.100, 0.102; the next configuration is far or near.
        ((0.100, 0.102, 0.150), "35.4 times that spread, so that it is better than"),
        ((0.100, 0.102, 0.101), "0.7 times that spread, so that it is not better"),
    ],
)
def test_the_best_trial_is_held_against_the_spread_over_seeds(
    losses: tuple[float, float, float], words: str
) -> None:
    first, second, other = losses
    trials = [trial(0, first), trial(1, second, seed=2), trial(2, other, 0.02)]
    note = note_of(trials)
    assert "over seeds is 0.0014 (standard deviation; 2 trials of 1 conf" in note
    assert words in note


def test_a_spread_that_no_trials_show_is_not_made_up() -> None:
    note = note_of([trial(0, 0.1), trial(1, 0.2, 0.02, seed=2)])
    assert "no two complete trials differ in their seed alone" in note


@given(
    st.lists(
        st.tuples(st.sampled_from([1e-3, 1e-2, 3e-2]), st.floats(0, 1)),
        min_size=2, max_size=12,
    )
)  # fmt: skip
def test_the_spread_is_that_within_configurations(
    drawn: list[tuple[float, float]],
) -> None:
    trials = [trial(i, loss, rate, seed=i) for i, (rate, loss) in enumerate(drawn)]
    groups = [[v for r, v in drawn if r == rate] for rate in {r for r, _ in drawn}]
    found = [[t.values[0] for t in group] for group in by_configuration(trials)]
    assert sorted(found) == sorted(groups)
    squares = [(v - np.mean(g)) ** 2 for g in groups for v in g]
    if len(squares) > len(groups):
        std = np.sqrt(np.sum(squares) / (len(squares) - len(groups)))
        assert spread(found) == pytest.approx(std, abs=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_there_is_a_picture_of_everything(n: int) -> None:
    rng = np.random.default_rng(1)
    trials = [
        trial(i, None if i % 5 == 4 else 0.1 + rng.random(), rng.random(), n=n)
        for i in range(12)
    ]
    names = ["val/loss", "hardware/bit_operations"][:n]
    shares = {name: {"act": 0.6, "seed": 0.4} for name in names}
    drawn = draw_sweep(settings_of(*names), trials, [0], shares, "a sweep")
    of_one = {"parallel_coordinates"}
    of_two = {
        "parallel_coordinates_val_loss",
        "parallel_coordinates_hardware_bit_operations",
        "front",
    }
    assert set(drawn) == {"history", "importances"} | (of_one if n == 1 else of_two)


VALUES = {
    "values": np.array([3.0, 1.0, np.nan, 2.0, 40.0]),
    "pruned": np.array([np.nan, np.nan, 5.0, np.nan, np.nan]),
}
LOSS = plots.SweptMetric(name="val/loss", unit="network units", sign=-1, **VALUES)
WIDTH = plots.SweptMetric(name="test/z_std_cm", unit="cm", sign=1, **VALUES)
RATE = plots.Coordinate(
    name="learning_rate", values=np.array([1e-3, 1e-2, 1e-2, 0.1, 0.1]), is_log=True
)
FIGURES = {
    "history": plots.sweep_history([LOSS, WIDTH]),
    "parallel": plots.parallel_coordinates([RATE, RATE], LOSS),
    "front": plots.front(LOSS, WIDTH, np.array([False, True, False, False, True])),
    "importances": plots.importances({"a": {"x": 0.9}, "b": {"x": 0.2}}, 7),
}


@pytest.mark.parametrize("name", FIGURES)
def test_legends_cover_nothing_and_axes_have_names(name: str) -> None:
    figure = FIGURES[name]
    texts = texts_of(figure)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    box = legend.get_window_extent()
    assert box.y0 >= figure.axes[0].get_window_extent().y1
    if name in ("history", "front"):
        assert any("val/loss (network units)" in text for text in texts)
        assert any("test/z_std_cm (cm)" in text for text in texts)
    if name == "importances":
        assert {"90%", "20%", "x"} <= set(texts)


def texts_of(figure: Figure) -> list[str]:
    plots.png(figure)
    found = []
    for axes in figure.axes:
        labels = [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts]
        found += [axes.get_xlabel(), axes.get_ylabel()]
        found += [label.get_text() for label in labels]
    return found


def test_the_best_so_far_only_gets_better() -> None:
    for panel, sign in zip(FIGURES["history"].axes, (-1, 1), strict=True):
        best = np.asarray(panel.lines[-1].get_ydata(), dtype=np.float64)
        assert (np.diff(sign * best) >= 0).all()
