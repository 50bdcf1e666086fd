"""What figures look like: texts, legends, bins, colours."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.text import Text
from some_plots import PNG_MAGIC, figures, legend_texts, pair, sample

from nnt import metrics, plots
from nnt.plots import learning_curves
from nnt.plots.pieces import bin_edges
from nnt.plots.style import COLOURS, readable


def test_learning_curves_mark_the_best_epoch_of_every_expert() -> None:
    history = {
        expert: [
            {"train/loss": 1 / epoch, "val/loss": 0.1 + (epoch - 5 - expert) ** 2}
            for epoch in range(1, 20)
        ]
        for expert in range(5)
    }
    figure = learning_curves(history)
    for expert in range(5):
        assert f"expert {expert}: 0.1 at epoch {expert + 5}" in legend_texts(figure)
    plots.png(figure)


@pytest.mark.parametrize(
    "history",
    [
        {},
        {0: []},
        {0: [{"val/loss": 0.5}]},
        {0: [{"lr": 0.1}]},
        {0: [{"val/loss": float("nan")}, {"val/loss": 0.0}]},
        {-1: [{"val/loss": 0.5, "train/loss": 0.5}]},
    ],
)
def test_learning_curves_of_little_are_drawn_without_warning(
    history: dict[int, list[dict[str, float]]],
) -> None:
    assert plots.png(learning_curves(history)).startswith(PNG_MAGIC)


def test_the_epoch_whose_weights_are_kept_is_marked_even_before_the_first() -> None:
    epochs = [{"val/loss": 0.5 + k} for k in range(2)]
    figure = learning_curves({0: epochs, 1: epochs}, {0: (0, 0.25)})
    assert "expert 0: 0.25 at epoch 0" in legend_texts(figure)
    assert "expert 1: 0.5 at epoch 1" in legend_texts(figure)
    assert all(place == round(place) for place in figure.axes[0].get_xticks())


@pytest.mark.parametrize("n", [1, 40, 3000])
def test_texts_cover_neither_data_nor_each_other_nor_the_edge(n: int) -> None:
    for name, figure in figures(pair(sample(n)), plots.EVALUATION).items():
        plots.png(figure)
        width, height = figure.canvas.get_width_height()
        axes = figure.axes[0]
        top, legend = axes.get_window_extent().y1, axes.get_legend()
        texts = [t for t in figure.findobj(Text) if isinstance(t, Text)]
        (title,) = [t for t in texts if t.get_text() == figure.get_suptitle()]
        above = title.get_window_extent().y0 - 0.2 * figure.dpi
        if legend is not None:
            box = legend.get_window_extent()
            assert top - 1 <= box.y0, name
            assert box.y1 <= above + 1, name
            assert box.x1 <= width, name
        else:
            assert top <= above, name
        for panel in figure.axes:
            label = panel.yaxis.label.get_window_extent()
            assert label.x0 >= 0, name
            assert label.y0 >= -1, name
            assert label.y1 <= height, name
            ticks = panel.yaxis.get_ticklabels() if panel is axes else []
            boxes = [t.get_window_extent() for t in ticks if t.get_text()]
            assert all(box.x0 >= label.x1 for box in boxes), name


def test_few_rows_have_few_bins() -> None:
    for most in (100, 128, 64, 50):
        for n in (0, 1, 10, 132, 3049, 10**6):
            n_bins = len(bin_edges(-1, 1, most, n)) - 1
            assert most % n_bins == 0
            assert 8 <= n_bins <= max(2 * np.sqrt(n), 16)
    assert len(bin_edges(-1, 1, 100, 10**6)) == 101
    axis = metrics.AXES["z"]
    assert len(axis.edges_for(10**6)) == 41
    assert len(axis.edges_for(132)) == 6
    for name, axis in metrics.AXES.items():
        for n in (0, 1, 132, 3049):
            assert set(axis.edges_for(n)) <= set(axis.edges), name


def test_the_cut_of_15_cm_is_named() -> None:
    figure = plots.draw("efficiency_and_rejection", sample(99))
    assert "d = 15 cm" in legend_texts(figure)


def test_the_description_is_on_the_figure() -> None:
    description = "run · data · expert 3"
    for drawing in plots.drawings_of_rows(sample(50), description=description):
        texts = [text.get_text() for text in drawing.figure().texts]
        assert description in texts, drawing.name


@pytest.mark.parametrize(
    "name", ["a$b$c", "$x", "_hidden", "名前", "\\frac", "a\nb", "x" * 300, "", " "]
)
def test_any_name_can_stand_in_a_legend(name: str) -> None:
    view = sample(60)
    figure = plots.draw("z_residual", {name: view, "other": view})
    assert len(legend_texts(figure).split("\n")) == 7
    assert plots.png(figure).startswith(PNG_MAGIC)
    assert len(readable(name)) <= 42


def test_of_many_networks_the_important_ones_have_colours() -> None:
    names = [f"n{k}" for k in range(100)]
    shown = plots.looks(names, important=["n99", "n50"])
    assert shown["n0"].colour == COLOURS[0]
    in_legend = [name for name in names if shown[name].in_legend]
    assert {"n0", "n50", "n99"} <= set(in_legend)
    assert len(in_legend) == len(COLOURS)
    assert len({shown[name].colour for name in in_legend}) == len(COLOURS)


def test_a_network_that_puts_all_tracks_in_one_place_hides_no_other() -> None:
    view = sample(3000)
    networks = {f"n{k}": view for k in range(10)}
    networks["n9"] = dataclasses.replace(view, z_cm=view.z_reco_cm)
    look = plots.looks(list(networks))
    curves = {k: plots.curves(own, plots.COMPARISON) for k, own in networks.items()}
    drawn = {drawing.name: drawing for drawing in plots.drawings(curves, look=look)}
    assert drawn["z_residual"].figure().axes[0].get_ylim()[1] < 600


@pytest.mark.parametrize(("n", "epochs"), [(1, 1), (3, 2000), (12, 30)])
def test_learning_curves_of_runs_have_a_panel_per_expert(n: int, epochs: int) -> None:
    curve = np.stack([np.arange(1, epochs + 1), 1 / np.arange(1, epochs + 1)], axis=1)
    losses = {f"r{k}": {0: curve, 3: curve * (1, k + 1)} for k in range(n)}
    figure = plots.learning_curves_of_runs(losses, plots.looks(list(losses)))
    panels = figure.axes
    assert [axes.get_title() for axes in panels] == ["expert 0", "expert 3"]
    assert all(len(axes.lines) == n for axes in panels)
    assert max(len(np.asarray(line.get_xdata())) for line in panels[0].lines) <= 1000
    assert plots.png(figure)


def test_a_ratio_names_the_network_that_it_is_over() -> None:
    view = pair(sample(300))
    networks = dict(zip(("fixed-point network", "x" * 300), view.values(), strict=True))
    for shown, name in ((view, "reference"), (networks, "x" * 23 + "…")):
        ratio = plots.draw("z_residual", shown).axes[1]
        assert ratio.get_ylabel() == f"over\n{name}"


def test_bars_of_errors_of_shares_end_at_0() -> None:
    view = sample(900)
    blind = dataclasses.replace(view, z_cm=view.z_cm[::-1] - view.z_reco_cm[::-1])
    lines = plots.draw("rejection_against_z", blind).axes[0].lines
    assert min(np.nanmin(np.asarray(line.get_ydata())) for line in lines) == 0
