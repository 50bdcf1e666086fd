"""Every plot draws what it is given, whatever that is."""

import dataclasses
import re
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch
from matplotlib.text import Text

from nnt import metrics, plots
from nnt.metrics import Predictions, cut_at_efficiency_cm
from nnt.plots import learning_curves, registry, sampled_distribution
from nnt.plots.pieces import bin_edges
from nnt.plots.shown import Shown, readable
from nnt.plots.style import COLOURS
from nnt.simulation import simulate
from nnt.tracks import Tracks

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def sample(n: int, *, theta: bool = True, reference: bool = True) -> Predictions:
    rng = np.random.default_rng(n)
    z_reco_cm = rng.choice([0.4, 30.0], n) * rng.normal(size=n)
    theta_reco_deg = rng.uniform(30, 130, n)
    return Predictions(
        z_reco_cm=z_reco_cm,
        theta_reco_deg=theta_reco_deg,
        z_cm=z_reco_cm + rng.normal(0, 3, n),
        theta_deg=theta_reco_deg + rng.normal(0, 5, n) if theta else None,
        z_reference_cm=z_reco_cm + rng.normal(0, 5, n) if reference else None,
        theta_reference_deg=theta_reco_deg * 1 if reference else None,
        event=np.arange(n),
        expert=np.zeros(n, dtype=np.int64),
        pt_gev=rng.uniform(0.2, 5, n) if theta else None,
        phi_deg=rng.uniform(0, 360, n) if theta else None,
        n_tracks=rng.integers(1, 12, n) if theta else None,
    )


def with_classes(view: Predictions) -> Predictions:
    """Classes whose probabilities are right, from z that only they see."""
    rng = np.random.default_rng(0)
    near = (np.abs(view.z_reco_cm) < 1).astype(float)
    score = np.clip(rng.normal(2 * near - 1, 1), -3, 3)
    # Two normal distributions of width 1, two widths apart, with these shares.
    odds = near.mean() / (1 - near.mean()) if 0 < near.mean() < 1 else 1.0
    probability = 1 / (1 + np.exp(-2 * score) / odds)
    return dataclasses.replace(
        view, nnt=2 * probability - 1, stt=np.tanh(score), charge=np.sign(score)
    )


def legend_texts(figure: Figure) -> str:
    legend = figure.axes[0].get_legend()
    if legend is None:
        return ""
    texts = [legend.get_title(), *legend.get_texts()]
    return "\n".join(text.get_text() for text in texts)


def test_the_plots_of_the_contract_are_there() -> None:
    assert set(plots.figures(sample(500))) >= {
        "z_against_reco",
        "z_histogram",
        "z_residual",
        "z_residual_collision_point",
        "z_width_against_z",
        "z_width_against_z_reference",
        "theta_residual",
        "efficiency_and_rejection",
    }


@pytest.mark.parametrize(
    ("n", "theta", "reference"),
    [(1, True, True), (2, False, False), (500, False, True)],
)
def test_any_number_of_tracks_can_be_drawn(
    n: int, theta: bool, reference: bool
) -> None:
    view = sample(n, theta=theta, reference=reference)
    drawn = plots.figures(view, detail=n == 1)
    assert ("theta_residual" in drawn) == theta
    assert ("z_width_against_z_reference" in drawn) == reference
    for figure in drawn.values():
        assert plots.png(figure).startswith(PNG_MAGIC)


def test_tracks_far_outside_do_not_disturb() -> None:
    view = sample(100)
    for figure in plots.figures(
        dataclasses.replace(view, z_cm=view.z_cm + 1e4)
    ).values():
        plots.png(figure)


def test_no_tracks_no_plots() -> None:
    assert plots.figures(sample(0), detail=True) == {}


def test_axes_have_titles_and_units() -> None:
    for name, figure in plots.figures(sample(500), detail=True).items():
        assert figure.get_suptitle(), name
        assert any(axes.get_xlabel() for axes in figure.axes), name
        assert all(axes.get_ylabel() for axes in figure.axes), name


def test_the_legend_tells_count_mean_and_both_widths() -> None:
    text = legend_texts(plots.figures(sample(500))["z_residual"])
    for word in ("500 tracks", "mean", "std", "cm"):
        assert word in text


def test_the_z_histogram_holds_every_track() -> None:
    figure = plots.figures(sample(500))["z_histogram"]
    steps = [patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)]
    # Filled and in outline, the reconstruction is there twice.
    assert [patch.get_data()[0].sum() for patch in steps] == [500] * 4


def test_details_are_drawn_when_asked_for() -> None:
    view = sample(800)
    few, all_ = plots.figures(view), plots.figures(view, detail=True)
    assert few.keys() < all_.keys()
    assert {
        "z_resolution_against_pt", "theta_resolution_against_phi", "z_slope_against_z",
        "efficiency_against_theta", "theta_against_reco", "inverse_pt_histogram",
        "event_rejection_against_efficiency", "stt_rejection_against_efficiency",
    } <= all_.keys() - few.keys()  # fmt: skip


def test_what_the_rows_lack_is_not_drawn() -> None:
    names = plots.figures(sample(800, theta=False), detail=True).keys()
    assert not any("pt" in n or "phi" in n or n.startswith("stt") for n in names)
    assert "z_resolution_against_theta" in names


def test_inputs_and_targets_of_one_or_two_tables_can_be_drawn(
    make_tracks: Callable[..., Tracks],
) -> None:
    one, two = make_tracks(30, seed=1), make_tracks(90, seed=2, experts=(1,))
    first, second = (metrics.profiles(table)["all"] for table in (one, two))
    both = {"one": first, "two": second}
    nothing = metrics.profiles(one[:0])["all"]
    for tables in ({"one": first}, {"none": nothing, "two": second}):
        plots.input_histograms(tables, "inputs")
        for picture in plots.target_histograms(tables).values():
            assert plots.png(picture).startswith(PNG_MAGIC)
    figure = plots.input_histograms(both, "inputs", marked=["SL1-driftT"])
    assert plots.png(figure).startswith(PNG_MAGIC)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {f"SL{sl} relID" for sl in range(9)} <= texts
    steps = [patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)]
    assert len(steps) == 2 * 27
    # The second is scaled to the first: the same height above the same floor.
    heights = [patch.get_data()[0].sum() for patch in steps[:2]]
    assert heights[0] == pytest.approx(heights[1])


def test_hit_patterns_are_drawn_in_a_column_of_their_own() -> None:
    tables = {
        name: metrics.profiles(simulate(60, seed=seed, chain="3dh", inputs=126))["all"]
        for seed, name in enumerate(("one", "two"))
    }
    figure = plots.input_histograms(tables, "inputs", marked=["SL3-extra_input2"])
    (axes,) = figure.axes
    steps = [patch for patch in axes.patches if isinstance(patch, StepPatch)]
    assert len(steps) == 2 * 9 * 4
    bits = tables["one"].bits
    assert bits is not None
    heights = steps[2 * 27].get_data()[0] - 8 * 1.06
    np.testing.assert_allclose(heights, 0.8 * bits[0] / tables["one"].n_hits[0])
    bold = [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"]
    assert bold == ["SL3 wires with a signal, 0 to 1"]
    assert "crossing angle, rad" in {text.get_text() for text in axes.texts}


def test_a_plot_of_ones_own_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_PLOTS", {})

    @plots.register("mine", when=lambda view: len(view) > 3)
    def mine(view: Predictions) -> Figure:
        figure, axes = plots.canvas("mine")
        axes.plot(view.z_cm)
        return figure

    assert list(plots.figures(sample(4))) == ["mine"]
    assert plots.figures(sample(3)) == {}


def test_a_plot_of_ones_own_sees_every_network_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_PLOTS", {})

    @plots.register("mine", where=plots.COMPARISON, caption="One's own.")
    def mine(rows: Shown) -> Figure:
        figure, axes = plots.canvas("mine")
        for network in rows.networks:
            axes.plot(network.z_cm, color=network.colour, label=network.label)
        plots.legend(axes)
        return figure

    view = sample(9)
    networks = {
        f"network {k}": dataclasses.replace(view, z_cm=view.z_cm + k) for k in range(3)
    }
    assert plots.figures(networks) == {}
    (figure,) = plots.figures(networks, where=plots.COMPARISON).values()
    assert legend_texts(figure).split("\n") == ["", *networks]
    assert plots.captions() == {"mine": "One's own."}
    with pytest.raises(ValueError, match="plot mine: drawn in nowhere"):
        plots.register("mine", where="nowhere")


def test_plots_can_be_drawn_in_threads() -> None:
    drawn: list[bytes] = []
    view = sample(200)

    def draw() -> None:
        drawn.append(plots.png(plots.draw("z_residual", view)))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(drawn) == 4
    assert len(set(drawn)) == 1


def test_rejection_equals_that_of_cutting_by_hand() -> None:
    view = sample(500)
    curve = plots.curves(view, plots.TRAINING)["rejection_against_efficiency"][""]
    signal = view.z_cm[np.abs(view.z_reco_cm) < 1]
    background = view.z_cm[np.abs(view.z_reco_cm) > 20]
    cuts_cm = [cut_at_efficiency_cm(signal, own) for own in curve.efficiency]
    by_hand = [np.mean(np.abs(background) >= cut_cm) for cut_cm in cuts_cm]
    np.testing.assert_allclose(curve.rejection, by_hand)


@pytest.mark.parametrize(("n", "reference"), [(1, True), (2, False), (500, True)])
def test_plots_of_the_trigger_can_be_drawn(n: int, reference: bool) -> None:
    view = sample(n, reference=reference)
    view.z_reco_cm[0] = 0.0
    view.z_reco_cm[-1] = 50.0 if n > 1 else 0.0
    drawn = plots.pictures(view)
    assert ("rejection_against_efficiency" in drawn) == (n > 1)
    assert ("feed_down" in drawn) == (n == 500)


def test_feed_down_tells_the_two_sides_apart() -> None:
    view = dataclasses.replace(
        sample(90),
        z_reco_cm=np.repeat([0.0, 60.0, -60.0], [50, 20, 20]),
        z_cm=np.repeat([5.0, 60.0, 1.0], [50, 20, 20]),
    )
    feed = plots.curves(view, plots.TRAINING)["feed_down"]
    beyond = metrics.FAR_Z_CM >= 60
    np.testing.assert_array_equal(feed.down.values, np.where(beyond, np.nan, 0))
    np.testing.assert_array_equal(feed.up.values, np.where(beyond, np.nan, 1))


def test_the_sampled_distribution_tells_how_many_rows_were_used() -> None:
    z_scaled = np.linspace(-1, 1, 100, dtype=np.float32)
    figure = sampled_distribution(z_scaled, np.zeros(100, dtype=np.int64))
    assert "1%" in figure.get_suptitle()
    assert "mean -100.00," in legend_texts(figure)
    assert plots.png(figure).startswith(PNG_MAGIC)


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
    epochs = [{"val/loss": 0.5 + k} for k in range(5)]
    figure = learning_curves({0: epochs, 1: epochs}, {0: (0, 0.25)})
    assert "expert 0: 0.25 at epoch 0" in legend_texts(figure)
    assert "expert 1: 0.5 at epoch 1" in legend_texts(figure)


def all_figures(view: Predictions) -> dict[str, Figure]:
    return plots.figures(view) | plots.figures(view, detail=True)


@pytest.mark.parametrize("n", [1, 40, 3000])
def test_texts_cover_neither_data_nor_each_other_nor_the_edge(n: int) -> None:
    for name, figure in all_figures(sample(n)).items():
        plots.png(figure)
        width, height = figure.canvas.get_width_height()
        axes = figure.axes[0]
        legend = axes.get_legend()
        top = axes.get_window_extent().y1
        title = figure.get_suptitle()
        (title_text,) = [
            t
            for t in figure.findobj(Text)
            if isinstance(t, Text) and t.get_text() == title
        ]
        above = title_text.get_window_extent().y0 - 0.2 * figure.dpi
        if legend is not None:
            box = legend.get_window_extent()
            assert top - 1 <= box.y0, name
            assert box.y1 <= above + 1, name
            assert box.x1 <= width, name
        else:
            assert top <= above, name
        for panel in figure.axes:
            label = panel.yaxis.label.get_window_extent()
            ticks = [
                t.get_window_extent()
                for t in panel.yaxis.get_ticklabels()
                if t.get_text()
            ]
            assert label.x0 >= 0, name
            if panel is axes:
                assert all(tick.x0 >= label.x1 for tick in ticks), name
            assert label.y0 >= -1, name
            assert label.y1 <= height, name


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


def test_slopes_are_shown_for_few_rows_and_many() -> None:
    for n in (300, 3000):
        rng = np.random.default_rng(n)
        z_cm = rng.uniform(-60, 60, n)
        view = dataclasses.replace(
            sample(n, reference=False),
            z_reco_cm=z_cm,
            z_cm=0.5 * z_cm + rng.normal(0, 10, n),
        )
        (points,) = [
            line
            for line in plots.draw("z_slope_against_z", view).axes[0].lines
            if line.get_marker() == "o"
        ]
        shown = np.asarray(points.get_ydata())
        assert len(shown) >= 2
        # The network moves by half of what the tracks do.
        np.testing.assert_allclose(shown.mean(), -0.5, atol=0.2)


def test_points_that_no_cut_reaches_are_not_announced() -> None:
    view = sample(600, reference=False)
    assert view.theta_deg is not None
    slow = dataclasses.replace(
        view,
        pt_gev=np.full(600, 0.69, dtype=np.float32),
        theta_reco_deg=np.full(600, 60.0),
    )
    # At 90 degrees, 0.69 GeV are too little.
    lost = dataclasses.replace(
        slow, theta_deg=np.where(np.arange(600) % 20, 60.0, 90.0)
    )
    text = legend_texts(plots.draw("stt_rejection_against_efficiency", lost))
    assert "96, 98 % efficiency is out of reach" in text
    found = legend_texts(plots.draw("rejection_against_efficiency", view))
    assert "points: 95, 96, 98 % efficiency" in found
    assert "out of reach" not in found


def test_momenta_are_counted_as_they_are_drawn() -> None:
    view = sample(500)
    assert view.pt_gev is not None
    view.pt_gev[:20], view.pt_gev[20:30] = np.nan, np.inf
    figure = plots.draw("inverse_pt_histogram", view)
    assert "490 tracks" not in figure.get_suptitle()
    assert "480 tracks (20 without a momentum)" in figure.get_suptitle()
    assert "all: 480 tracks" in legend_texts(figure)


def test_the_cut_of_15_cm_is_named() -> None:
    assert "d = 15 cm" in legend_texts(
        plots.draw("efficiency_and_rejection", sample(99))
    )


def test_the_description_is_on_the_figure() -> None:
    drawings = plots.drawings_of_rows(sample(50), description="run · data · expert 3")
    assert all(d.description == "run · data · expert 3" for d in drawings)
    figure = plots.draw("z_residual", sample(50), "run · data · expert 3")
    assert "run · data · expert 3" in [text.get_text() for text in figure.texts]


@pytest.mark.parametrize(
    "name", ["a$b$c", "$x", "_hidden", "名前", "\\frac", "a\nb", "x" * 300, "", " "]
)
def test_any_name_can_stand_in_a_legend(name: str) -> None:
    view = sample(60)
    networks = {name: view, "other": sample(60)}
    figure = plots.figures(networks)["z_residual"]
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


def test_a_comparison_draws_every_network() -> None:
    view = sample(2000, reference=False)
    rng = np.random.default_rng(0)
    networks = {
        f"network {k}": dataclasses.replace(
            view, z_cm=view.z_cm + rng.normal(0, k, 2000)
        )
        for k in range(1, 13)
    }
    first = next(iter(networks.values()))
    curves = {
        name: plots.curves(own, plots.COMPARISON, reference=first)
        for name, own in networks.items()
    }
    drawings = plots.drawings(curves, "12 networks")
    # These networks have no class that could be calibrated.
    assert {d.name for d in drawings} == {
        p.name for p in plots.registered("comparison")
    } - {"calibration"}
    for drawing in drawings:
        with plots.default_style():
            figure = drawing.plot(drawing.data)
        text = legend_texts(figure)
        assert "network 1" in text, drawing.name
        assert "network 8" in text, drawing.name
        assert "network 9" not in text, drawing.name
        assert plots.png(figure)


def test_a_network_that_puts_all_tracks_in_one_place_hides_no_other() -> None:
    view = sample(3000, reference=False)
    networks = {f"n{k}": view for k in range(10)}
    networks["n9"] = dataclasses.replace(view, z_cm=view.z_reco_cm)
    look = plots.looks(list(networks))
    curves = {k: plots.curves(own, plots.COMPARISON) for k, own in networks.items()}
    (drawing,) = [
        d for d in plots.drawings(curves, look=look) if d.name == "z_residual"
    ]
    assert drawing.plot(drawing.data).axes[0].get_ylim()[1] < 600


@pytest.mark.parametrize(("n", "epochs"), [(1, 1), (3, 2000), (12, 30)])
def test_learning_curves_of_runs_have_a_panel_per_expert(n: int, epochs: int) -> None:
    curve = np.stack([np.arange(1, epochs + 1), 1 / np.arange(1, epochs + 1)], axis=1)
    losses = {f"r{k}": {0: curve, 3: curve * (1, k + 1)} for k in range(n)}
    figure = plots.learning_curves_of_runs(losses, plots.looks(list(losses)))
    panels: list[Axes] = figure.axes
    assert [axes.get_title() for axes in panels] == ["expert 0", "expert 3"]
    assert all(len(axes.lines) == n for axes in panels)
    assert max(len(np.asarray(line.get_xdata())) for line in panels[0].lines) <= 1000
    assert plots.png(figure)


def test_the_docs_list_every_plot_and_where_it_is_drawn() -> None:
    page = (Path(__file__).parent.parent / "docs" / "evaluation.md").read_text()
    table = page.split("| Plots | Where |")[1].split("\n\n")[0]
    listed = {
        name: where
        for line in table.splitlines()[2:]
        for names, where in [line.strip("| ").split(" | ")]
        for name in re.findall(r"`([a-z0-9_]+)`", names)
    }
    words = {
        plots.TRAINING: "trainings",
        plots.EVALUATION: "evaluations",
        plots.COMPARISON: "comparisons",
    }
    for plot in plots.registered():
        where = listed[plot.name]
        for place, word in words.items():
            assert (word in where) == (place in plot.where), (plot.name, place)
    drawn_apart = {
        "inputs",
        "learning_curves",
        "sampled_distribution",
        "z_difference",
        "theta_difference",
    }
    assert listed.keys() == {plot.name for plot in plots.registered()} | drawn_apart


def test_every_plot_has_a_caption() -> None:
    for name, caption in plots.captions().items():
        assert caption.endswith("."), name


def test_both_decisions_are_in_one_picture() -> None:
    view = with_classes(sample(2000))
    for name in (
        "rejection_against_efficiency",
        "stt_rejection_against_efficiency",
        "efficiency_against_charge",
        "rejection_against_z",
    ):
        text = legend_texts(plots.draw(name, view))
        assert text.count("network") == 2, name
        assert text.count("class") == 1, name
        assert text.count("reference") == 1, name
    only_class = dataclasses.replace(view, has_z=False, z_cm=view.z_cm * np.nan)
    drawn = set(plots.figures(only_class))
    assert {"rejection_against_efficiency", "calibration", "theta_residual"} <= drawn
    assert not {name for name in drawn if name.startswith(("z_", "feed"))}


def test_probabilities_that_are_right_lie_on_the_diagonal() -> None:
    view = with_classes(sample(20000, reference=False))
    figure = plots.draw("calibration", view)
    points = next(
        line for line in figure.axes[0].lines if str(line.get_label()).endswith("nnt")
    )
    at, share = np.asarray(points.get_xdata()), np.asarray(points.get_ydata())
    assert len(at) > 5
    # Rows that are neither signal nor background do not count.
    background = np.abs(view.z_reco_cm) > metrics.BACKGROUND_Z_CM
    near = np.abs(view.z_reco_cm) < metrics.SIGNAL_Z_CM
    odds = at / (1 - at) * (~near).sum() / background.sum()
    np.testing.assert_allclose(share, odds / (1 + odds), atol=0.1)


def test_tracks_of_no_particle_have_no_residuals() -> None:
    view = sample(300, reference=False)
    fake = np.arange(300) % 3 == 0
    figure = plots.draw("z_residual", dataclasses.replace(view, fake=fake))
    assert "200 tracks" in legend_texts(figure)
