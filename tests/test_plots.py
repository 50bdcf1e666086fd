"""Every plot draws what it is given, whatever that is."""

import dataclasses
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from some_plots import PNG_MAGIC, figures, legend_texts, pair, sample

from nnt import metrics, plots
from nnt.metrics import Predictions
from nnt.plots import registry
from nnt.plots.registry import Shown
from nnt.simulation import simulate
from nnt.tracks import Tracks
from nnt.types import F64


def steps(axes: Axes) -> list[F64]:
    """Heights of the histograms that are drawn as lines."""
    lines = [np.asarray(line.get_ydata()) for line in axes.lines]
    return [y[::2] for y in lines if len(y) > 5]


def test_the_plots_of_the_contract_are_there() -> None:
    assert set(figures(pair(sample(500)))) >= {
        "z_against_reco", "z_histogram", "z_residual", "z_residual_collision_point",
        "z_width_against_z", "z_width_against_z_reference", "theta_residual",
        "efficiency_and_rejection",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("n", "theta", "reference"),
    [(1, True, True), (2, False, False), (500, False, True)],
)
def test_any_number_of_tracks_can_be_drawn(
    n: int, theta: bool, reference: bool
) -> None:
    view = sample(n, theta=theta)
    where = plots.EVALUATION if n == 1 else plots.TRAINING
    drawn = figures(pair(view) if reference else view, where)
    assert ("theta_residual" in drawn) == theta
    assert ("z_width_against_z_reference" in drawn) == reference
    for figure in drawn.values():
        assert plots.png(figure).startswith(PNG_MAGIC)


def test_tracks_far_outside_do_not_disturb() -> None:
    view = sample(100)
    for figure in figures(dataclasses.replace(view, z_cm=view.z_cm + 1e4)).values():
        plots.png(figure)


def test_no_tracks_no_plots() -> None:
    assert figures(sample(0), plots.EVALUATION) == {}


def test_axes_have_titles_and_units() -> None:
    for name, figure in figures(pair(sample(500)), plots.EVALUATION).items():
        assert figure.get_suptitle(), name
        assert any(axes.get_xlabel() for axes in figure.axes), name
        assert all(axes.get_ylabel() for axes in figure.axes), name


def test_a_histogram_holds_every_track_and_its_legend_counts_them() -> None:
    drawn = figures(pair(sample(500)))
    assert [n.sum() for n in steps(drawn["z_histogram"].axes[0])] == [500] * 3
    for word in ("500 tracks", "mean", "std", "trimmed std", "cm"):
        assert word in legend_texts(drawn["z_residual"])


def test_details_are_drawn_when_asked_for_and_of_what_the_rows_have() -> None:
    view = pair(sample(800))
    few, all_ = figures(view).keys(), figures(view, plots.EVALUATION).keys()
    assert few < all_
    assert {"z_resolution_against_pt", "theta_against_reco"} <= all_ - few
    poor = figures(sample(800, theta=False), plots.EVALUATION).keys()
    assert not any("pt" in n or "phi" in n or n.startswith("stt") for n in poor)
    assert "z_resolution_against_theta" in poor


def test_inputs_and_targets_of_one_or_two_tables_can_be_drawn(
    make_tracks: Callable[..., Tracks],
) -> None:
    one, two = make_tracks(30, seed=1), make_tracks(90, seed=2, experts=(1,))
    first, second = (metrics.profiles(table)["all"] for table in (one, two))
    nothing = metrics.profiles(one[:0])["all"]
    for tables in ({"one": first}, {"none": nothing, "two": second}):
        of_all = {name: {"all": profile} for name, profile in tables.items()}
        for drawing in plots.drawings_of_profiles(of_all):
            assert drawing.png().startswith(PNG_MAGIC), drawing.name
    both = {"one": first, "two": second}
    figure = plots.input_histograms(both, "inputs", marked=["SL1-driftT"])
    assert plots.png(figure).startswith(PNG_MAGIC)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {f"SL{sl} relID" for sl in range(9)} <= texts
    drawn = steps(figure.axes[0])
    assert len(drawn) == 2 * 27
    # The second is scaled to the first: the same height above the same floor.
    assert drawn[0].sum() == pytest.approx(drawn[1].sum())


def test_hit_patterns_are_drawn_in_a_column_of_their_own() -> None:
    tables = {
        name: metrics.profiles(simulate(60, seed=seed, chain="3dh", inputs=126))["all"]
        for seed, name in enumerate(("one", "two"))
    }
    figure = plots.input_histograms(tables, "inputs", marked=["SL3-extra_input2"])
    (axes,) = figure.axes
    drawn = steps(axes)
    assert len(drawn) == 2 * 9 * 4
    bits = tables["one"].bits
    assert bits is not None
    heights = drawn[2 * 27] - 8 * 1.06
    np.testing.assert_allclose(heights, 0.8 * bits[0] / tables["one"].n_hits[0])
    bold = [text.get_text() for text in axes.texts if text.get_fontweight() == "bold"]
    assert bold == ["SL3 wires with a signal, 0 to 1"]
    assert "crossing angle, rad" in {text.get_text() for text in axes.texts}


def test_a_plot_of_ones_own_sees_every_network_by_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "_PLOTS", {})

    @plots.register(
        "mine", lambda rows: len(rows) > 3, where=plots.COMPARISON, caption="One's own."
    )
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
    assert figures(networks) == figures(sample(3), plots.COMPARISON) == {}
    (figure,) = figures(networks, where=plots.COMPARISON).values()
    assert legend_texts(figure).split("\n") == ["", *networks]
    assert plots.captions() == {"mine": "One's own."}
    with pytest.raises(ValueError, match=r"plot mine: where: expected .* got nowhere"):
        plots.register("mine", where="nowhere")


def test_plots_can_be_drawn_in_threads() -> None:
    def draw(view: Predictions) -> bytes:
        return plots.png(plots.draw("z_residual", view))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(draw, [sample(200)] * 4))) == 1


def test_the_sampled_distribution_tells_how_many_rows_were_used() -> None:
    z_scaled = np.linspace(-1, 1, 100, dtype=np.float32)
    figure = plots.sampled_distribution(z_scaled, np.zeros(100, dtype=np.int64))
    assert "1%" in figure.get_suptitle()
    assert "mean -100.00," in legend_texts(figure)
    assert plots.png(figure).startswith(PNG_MAGIC)


@pytest.mark.parametrize("n", [300, 3000])
def test_slopes_are_shown_for_few_rows_and_many(n: int) -> None:
    rng = np.random.default_rng(n)
    z_cm = rng.uniform(-60, 60, n)
    # The network moves by half of what the tracks do.
    seen_cm = 0.5 * z_cm + rng.normal(0, 10, n)
    view = dataclasses.replace(sample(n), z_reco_cm=z_cm, z_cm=seen_cm)
    lines = plots.draw("z_slope_against_z", view).axes[0].lines
    (points,) = [line for line in lines if line.get_marker() == "o"]
    shown = np.asarray(points.get_ydata())
    assert len(shown) >= 2
    np.testing.assert_allclose(shown.mean(), -0.5, atol=0.2)


def test_momenta_are_counted_as_they_are_drawn() -> None:
    view = sample(500)
    assert view.pt_gev is not None
    view.pt_gev[:20], view.pt_gev[20:30] = np.nan, np.inf
    figure = plots.draw("inverse_pt_histogram", view)
    assert "480 tracks (20 without a momentum)" in figure.get_suptitle()
    assert "all: 480 tracks" in legend_texts(figure)


def test_a_comparison_draws_every_network() -> None:
    view, rng = sample(2000), np.random.default_rng(0)
    networks = {
        f"network {k}": dataclasses.replace(
            view, z_cm=view.z_cm + rng.normal(0, k, 2000)
        )
        for k in range(1, 13)
    }
    curves = {
        name: plots.curves(own, plots.COMPARISON, reference=networks["network 1"])
        for name, own in networks.items()
    }
    drawings = plots.drawings(curves, "12 networks")
    # These networks have no class that could be calibrated, the rows no fakes.
    assert {d.name for d in drawings} == {
        p.name for p in plots.registered("comparison")
    } - {"calibration", "fake_rejection_against_efficiency"}
    for drawing in drawings:
        figure = drawing.figure()
        text = legend_texts(figure)
        for k, is_named in ((1, True), (8, True), (9, False)):
            assert (f"network {k}" in text) == is_named, (drawing.name, k)
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
    for plot in plots.registered():
        for place in plots.EVERYWHERE:
            is_listed = f"{place}s" in listed[plot.name]
            assert is_listed == (place in plot.where), (plot.name, place)
        assert plots.captions()[plot.name].endswith("."), plot.name
    drawn_apart = {
        "inputs", "learning_curves", "sampled_distribution", "z_difference",
        "theta_difference",
    }  # fmt: skip
    assert listed.keys() == {plot.name for plot in plots.registered()} | drawn_apart


def test_tracks_of_no_particle_have_no_residuals() -> None:
    view = sample(300)
    fake = np.arange(300) % 3 == 0
    figure = plots.draw("z_residual", dataclasses.replace(view, fake=fake))
    assert "200 tracks" in legend_texts(figure)
