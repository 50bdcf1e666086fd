"""Every plot draws what it is given, whatever that is."""

import dataclasses
import threading
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from nnt import metrics, plots
from nnt.metrics import Predictions, cut_at_efficiency_cm, passing_share
from nnt.plots import learning_curves, registry, sampled_distribution, trigger
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


def legend_texts(figure: Figure) -> str:
    legend = figure.axes[0].get_legend()
    return "\n".join(text.get_text() for text in legend.get_texts()) if legend else ""


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
        assert figure.axes[0].get_title(), name
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


def test_a_plot_of_ones_own_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_PLOTS", {})

    @plots.register("mine", when=lambda view: len(view) > 3)
    def mine(view: Predictions) -> Figure:
        figure, axes = plots.canvas("mine")
        axes.plot(view.z_cm)
        return figure

    assert list(plots.figures(sample(4))) == ["mine"]
    assert plots.figures(sample(3)) == {}


def test_figures_can_be_drawn_in_threads() -> None:
    pictures: list[bytes] = []
    view = sample(200)

    def draw() -> None:
        plot, _, _ = registry._PLOTS["z_residual"]
        pictures.append(plots.png(plot(view)))

    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pictures) == 4
    assert len(set(pictures)) == 1


def test_rejection_equals_that_of_cutting_by_hand() -> None:
    rng = np.random.default_rng(0)
    signal, background = rng.normal(0, 5, 300), rng.normal(0, 40, 200)
    efficiencies = (0.5, 0.9, 0.95, 0.96, 0.98, 1.0)
    by_hand = [
        1 - passing_share(background, cut_at_efficiency_cm(signal, efficiency))
        for efficiency in efficiencies
    ]
    curve = metrics.rejection_at_efficiency(signal, background, efficiencies)
    np.testing.assert_allclose(curve, by_hand)


@pytest.mark.parametrize(("n", "reference"), [(1, True), (2, False), (500, True)])
def test_plots_of_the_trigger_can_be_drawn(n: int, reference: bool) -> None:
    view = sample(n, reference=reference)
    view.z_reco_cm[0] = 0.0
    plots.png(trigger.feed_down(view))
    view.z_reco_cm[-1] = 50.0 if n > 1 else 0.0
    if trigger._has_both(view):
        plots.png(trigger.rejection_against_efficiency(view))
    assert trigger._has_both(view) == (n > 1)


def test_feed_down_tells_the_two_sides_apart() -> None:
    z_reco_cm = np.concatenate([np.zeros(50), np.full(20, 60.0), np.full(20, -60.0)])
    z_cm = np.concatenate([np.full(50, 5.0), np.full(20, 60.0), np.full(20, 1.0)])
    down = metrics.shares_beyond(z_reco_cm, z_cm, 6.0, [15, 59, 60])
    up = metrics.shares_beyond(-z_reco_cm, z_cm, 6.0, [15, 59, 60])
    np.testing.assert_array_equal(down.share, [0, 0, np.nan])
    np.testing.assert_array_equal(up.share, [1, 1, np.nan])
    assert list(down.n_tracks) == [20, 20, 0]
    assert np.isnan(down.error[2])


def test_the_sampled_distribution_tells_how_many_rows_were_used() -> None:
    z_scaled = np.linspace(-1, 1, 100, dtype=np.float32)
    figure = sampled_distribution(z_scaled, np.zeros(100, dtype=np.int64))
    assert "1%" in figure.axes[0].get_title()
    assert "mean -100.00 cm" in legend_texts(figure)
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
