"""The simulation: reproducible, in range, and true to the geometry."""

from __future__ import annotations

import ast
import inspect
import itertools
import math
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from nnt.detector import (
    ALPHA_SCALE,
    EXPERT_MISSING_SUPERLAYER,
    ID_RANGES,
    SUPERLAYERS,
    T_MAX_TICKS,
    id_scaling,
)
from nnt.errors import ConfigError
from nnt.simulation import Simulation, finder, simulate, simulate_with
from nnt.simulation.population import (
    BACKGROUND,
    COLLISION,
    CROWD,
    Helices,
    Rows,
    make_helices,
    make_rows,
)
from nnt.simulation.segments import Hits, crossing, make_hits
from nnt.simulation.simulate import fit_stand_in
from nnt.tracks import Tracks, read_tracks, write_tracks
from nnt.types import F64

# The name in the package is the function's.
module = sys.modules["nnt.simulation.simulate"]

N_ROWS = 20_000


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return simulate(N_ROWS, seed=3)


def drawn(
    s: Simulation, n_events: int, seed: int
) -> tuple[Helices, Rows, Callable[[int], Hits]]:
    """Tracks, their rows, and what a superlayer sees of these."""
    rng = np.random.default_rng(seed)
    helices = make_helices(s, n_events, rng)
    rows = make_rows(s, helices, rng)
    return helices, rows, lambda index: make_hits(index, s, helices, rows, rng)


def seen(tracks: Tracks) -> npt.NDArray[np.bool_]:
    return np.asarray(tracks.inputs_by_superlayer.any(axis=2))


@pytest.mark.parametrize(("chain", "inputs"), [("classic", 27), ("3dh", 126)])
def test_a_seed_gives_the_first_rows_of_one_table(chain: str, inputs: int) -> None:
    calls: list[tuple[int, int]] = []

    def make(n_rows: int, seed: int) -> Tracks:
        return simulate(
            n_rows, seed, lambda *call: calls.append(call), chain=chain, inputs=inputs
        )

    few = make(5000, 3)
    assert len(few) == 5000
    assert np.isfinite(few.inputs).all()
    assert np.abs(few.targets).max() <= 1
    assert calls[-1] == (5000, 5000)
    assert make(5500, 3)[:5000].digest == few.digest != make(5000, 4).digest


def test_four_axial_superlayers_but_for_what_a_window_drops(tracks: Tracks) -> None:
    axial = seen(tracks)[:, ::2].sum(axis=1)
    assert np.mean(axial >= 4) > 0.9
    assert axial.min() >= 2


def test_expert_lacks_its_superlayer_and_no_other_stereo_one(tracks: Tracks) -> None:
    for expert, missing in enumerate(EXPERT_MISSING_SUPERLAYER):
        # Without curvature a segment may be 0 0 0 as if it were missing.
        curved = np.any(tracks.inputs[:, 2::3] != 0, axis=1)
        rows = tracks[(tracks.expert == expert) & curved]
        assert len(rows)
        for superlayer in (1, 3, 5, 7):
            assert np.all(seen(rows)[:, superlayer] == (superlayer != missing))


def test_rel_ids_lie_in_their_windows(tracks: Tracks) -> None:
    for superlayer, (lower, upper) in enumerate(ID_RANGES):
        scaling = id_scaling(lower, upper)
        hits = tracks.inputs[seen(tracks)[:, superlayer], 3 * superlayer]
        rel_id = hits / scaling.scale + scaling.offset
        assert rel_id.min() >= lower - 1e-5
        assert rel_id.max() <= upper + 1e-5


@pytest.mark.parametrize(("chain", "inputs"), [("classic", 27), ("3dh", 126)])
def test_drift_times_are_whole_ticks_since_the_first_segment_of_a_row(
    chain: str, inputs: int
) -> None:
    part = simulate(6000, seed=3, chain=chain, inputs=inputs).inputs_by_superlayer
    ticks = part[:, :, 1] * T_MAX_TICKS
    # Inputs have the six digits of the files.
    assert np.abs(ticks - np.rint(ticks)).max() < 2e-4
    assert np.abs(ticks).max() <= T_MAX_TICKS
    # Without curvature a segment may be 0 0 0 as if it were missing.
    curved = part[:, :, 2].any(axis=1)
    at_zero = ((ticks == 0) & part.any(axis=2)).any(axis=1)
    assert at_zero[curved].all()


def test_crossing_angles_of_a_row_belong_to_one_curvature(tracks: Tracks) -> None:
    inner, outer = SUPERLAYERS[1], SUPERLAYERS[3]
    rows = tracks[tracks.expert == 0]
    sine = [
        np.sin(rows.inputs[:, 3 * s.index + 2] / ALPHA_SCALE) for s in (inner, outer)
    ]
    second = inner.radius_cm[1] / inner.radius_cm[0]
    curved = np.abs(sine[0]) > 0.01
    ratio = sine[1][curved] / sine[0][curved]
    ratio *= inner.radius_cm[0] / outer.radius_cm[0]
    # Either may have been hit in its second priority layer.
    assert np.all(ratio > 1 / second - 1e-3)
    assert np.all(ratio < second + 1e-3)


def test_rel_id_follows_z_along_stereo_wires() -> None:
    clean = Simulation(
        tracks=N_ROWS,
        seed=1,
        collision_wrong_share=(0.0,) * 9,
        crowd_wrong_share=(0.0,) * 9,
        segment_neighbour_share=(0.0,) * 9,
        collision_event_share=1.0,
        collision_z_std_cm=30.0,
        collision_theta_edges_deg=tuple(np.linspace(89.9, 90.1, 11).tolist()),
        stray_row_share=0.0,
    )
    rows = simulate_with(clean)
    for superlayer in (s for s in SUPERLAYERS if s.is_stereo):
        hit = seen(rows)[:, superlayer.index]
        scale = id_scaling(*ID_RANGES[superlayer.index]).scale
        rel_id = rows.inputs[hit, 3 * superlayer.index] / scale
        z_cm = rows.targets[hit, 0] * 100
        length_cm = superlayer.z_forward_cm[0] - superlayer.z_backward_cm[0]
        expected = -superlayer.shift_half_cells / 2 / length_cm
        # Windows cut the tails of both, which flattens the slope a little.
        assert np.polyfit(z_cm, rel_id, 1)[0] == pytest.approx(expected, rel=0.15)


def test_tracks_of_an_event_are_counted(tracks: Tracks) -> None:
    event = tracks.event_index[:-100]
    ids = tracks.ids[:-100]
    same = np.diff(event) == 0
    assert np.all(np.diff(ids["Track"])[same] == 1)
    assert np.all(ids["Track"] < ids["nTracks"])
    assert np.all(np.bincount(event)[event[:-100]] <= ids["nTracks"][:-100])


@pytest.mark.parametrize(
    ("chain", "inputs", "words"),
    [
        ("3hd", 27, "unknown chain '3hd'; did you mean '3dh'"),
        ("classic", 126, "inputs: expected 27 in the classic chain, found 126"),
        ("3dh", 42, "inputs: expected 27 or 126 in the 3dh chain, found 42"),
    ],
)
def test_what_is_no_chain_is_refused(chain: str, inputs: int, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        simulate(10, chain=chain, inputs=inputs)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crowd_wrong_share": (0.1, 0.2)}, "crowd_wrong_share: expected 9 numbers"),
        ({"track_theta_deg": (1.0, math.nan)}, "track_theta_deg: expected numbers"),
        ({"tracks": 0}, "tracks: expected at least 1, found 0"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=rf"data\.simulate\.{message}"):
        Simulation(**values)


def test_every_setting_is_explained() -> None:
    """A number that is a choice says what it is: a docstring follows each field."""
    source = inspect.getsource(sys.modules["nnt.simulation.parameters"])
    body = next(
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)
    ).body
    for node, following in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign):
            assert isinstance(following, ast.Expr), ast.unparse(node.target)


def test_drift_sign_falls_with_rel_id(tracks: Tracks) -> None:
    """A wire at larger azimuth than the track (relID > 0) counts as right, -1."""
    for superlayer in (0, 2, 4):
        rel_id, drift = tracks.inputs[:, 3 * superlayer : 3 * superlayer + 2].T
        decided = drift != 0
        correlation = np.corrcoef(rel_id[decided], np.sign(drift[decided]))[0, 1]
        assert correlation < -0.1


def test_a_cached_table_is_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Simulation(tracks=60_000, seed=5)
    made = simulate_with(settings, use_cache=False)
    first, again = simulate_with(settings), simulate_with(settings)
    assert made.digest == first.digest == again.digest
    assert [*made.extras] == [*again.extras]
    assert isinstance(again.inputs, np.memmap)
    other = simulate_with(Simulation(tracks=60_000, seed=5, time_std_ticks=9.0))
    assert other.digest != first.digest


def test_inputs_are_those_of_a_file(tracks: Tracks, tmp_path: Path) -> None:
    """Six significant digits: what is written and read again is the same."""
    for value in tracks.inputs[:200].ravel():
        assert np.float32(f"{value:.6g}") == value
    write_tracks(tracks[:200], tmp_path / "rows.gz")
    back = read_tracks(tmp_path / "rows.gz")
    assert back.digest == tracks[:200].digest


def test_the_reference_is_a_fit_and_not_the_truth(tracks: Tracks) -> None:
    assert tracks.reference is not None
    raw = np.stack([tracks.extras["RawZ"], tracks.extras["RawTheta"]], axis=1)
    assert np.array_equal(tracks.reference, (raw / 4096).astype(np.float32))
    error = np.mean((tracks.reference - tracks.targets) ** 2)
    spread = np.mean((tracks.targets - tracks.targets.mean(axis=0)) ** 2)
    assert 0.05 * spread < error < 0.5 * spread


def test_the_reference_row_by_row(tracks: Tracks) -> None:
    """The plain form of the blockwise prediction, and a limit of 13 bits."""
    stand_in = fit_stand_in(tracks.inputs, tracks.targets, tracks.expert)
    some = tracks[:300]
    raw = stand_in.predict(some.inputs, some.expert)
    for row, inputs, expert in zip(raw, some.inputs, some.expert, strict=True):
        seen_by = np.append(inputs, 1.0)
        hidden = seen_by @ stand_in.first
        features = np.concatenate([hidden / (1 + np.abs(hidden)), seen_by])
        output = np.clip(features @ stand_in.second[expert] * 4096, -4096, 4095)
        assert np.abs(row - output).max() < 0.6
    far = stand_in.predict(1000 * some.inputs, some.expert)
    assert far.min() >= -4096
    assert far.max() <= 4095


def test_positive_background_and_a_core(tracks: Tracks) -> None:
    core = np.abs(tracks.targets[:, 0] * 100) < 1.5
    positive = tracks.inputs[:, 23] > 0
    assert 0.35 < core.mean() < 0.55
    assert np.mean(positive[~core]) > 0.75
    assert 0.4 < np.mean(positive[core]) < 0.55


def test_the_finder_follows_its_axial_segments() -> None:
    """Segments that lie on another circle: the fit finds the circle's parameters."""
    omega = np.array([0.0, 0.004, -0.006])
    d_phi, d_omega = 0.01, 3e-4
    error, found = [], []
    for superlayer in SUPERLAYERS[::2]:
        radius = superlayer.radius_cm[0]
        shift = d_phi - (
            np.arcsin(radius * (omega + d_omega) / 2) - np.arcsin(radius * omega / 2)
        )
        error.append(shift * superlayer.n_wires / (2 * np.pi))
        found.append(np.array([True, True, superlayer.index != 4]))
    by_phi, by_omega = finder.fit_segments(omega, error, found)
    assert by_phi == pytest.approx(np.full(3, d_phi), rel=0.02)
    assert by_omega == pytest.approx(np.full(3, d_omega), rel=0.02)


def test_the_finder_is_exact_but_for_its_steps() -> None:
    """Without errors the words are the nearest ones to the true track."""
    s = Simulation(
        finder_follows=0.0,
        omega_std_per_cm=0.0,
        phi_std_rad=0.0,
        phi_bias_rad=0.0,
        omega_factor=1.0,
        stray_row_share=0.0,
        collision_event_share=1.0,
    )
    helices, rows, hits = drawn(s, 500, 1)
    axial = [hits(i) for i in range(0, 9, 2)]
    words = finder.find_tracks(s, helices, rows, axial, np.random.default_rng(1))
    for count, step, true in (
        (words.omega_count, finder.OMEGA_STEP_PER_CM, helices.omega_per_cm),
        (words.phi_count, finder.PHI_STEP_RAD, helices.phi_rad),
    ):
        assert np.abs(count * step - true[rows.helix]).max() <= step / 2 + 1e-12


def test_polar_angles_of_collisions_follow_their_histograms() -> None:
    s = Simulation(collision_event_share=1.0, collision_tracks_share=(0.0, 1.0))
    helices = make_helices(s, 20_000, np.random.default_rng(2))
    edges = np.radians(s.collision_theta_edges_deg)
    counts = np.histogram(helices.theta_rad, edges)[0] / len(helices.theta_rad)
    expected = np.array(s.pair_theta_share) / np.sum(s.pair_theta_share)
    assert np.abs(counts - expected).max() < 0.01


def test_tracks_in_a_crowd_get_the_segments_of_others() -> None:
    """What a superlayer shows far from a row's own track, by kind of track."""
    helices, rows, hits = drawn(Simulation(), 8_000, 3)
    kind = helices.kind[rows.helix]
    for superlayer in (1, 3, 5, 7):
        wrong = hits(superlayer).wrong
        share = [np.mean(wrong[kind == number]) for number in range(3)]
        assert share[CROWD] > 1.3 * share[BACKGROUND]
        assert share[BACKGROUND] > 1.5 * share[COLLISION]


def test_times_of_second_wires_are_later_and_sides_of_messy_tracks_less_known() -> None:
    helices, rows, hits = drawn(Simulation(), 8_000, 4)
    messy = helices.mess[rows.helix] > 1
    for part in map(hits, (1, 3, 5, 7)):
        late = part.time_ticks > 150
        assert late[part.second].mean() > 1.5 * late[~part.second].mean()
        unknown = part.side == 0
        assert unknown[messy].mean() > 1.2 * unknown[~messy].mean()


def test_background_passes_as_far_from_its_helix_as_where_it_comes_from_says() -> None:
    none = (0.0,) * 9
    s = Simulation(
        collision_event_share=0.0,
        background_z_std_cm=(0.1,) * 7,
        segment_shift_wires=none,
        segment_second_share=none,
        same_segment_share=0.0,
    )
    h, rows, hits = drawn(s, 8_000, 5)
    helix = h.z_cm, 1 / np.tan(h.theta_rad), h.phi_rad, h.omega_per_cm, h.d0_cm
    factors = list(zip(s.background_z_cm, s.background_scatter_factor, strict=True))
    for superlayer in (1, 4):
        place = crossing(SUPERLAYERS[superlayer], 0, *helix)[0]
        off = hits(superlayer).passed - place[rows.helix]
        for z_cm, factor in factors:
            origin = np.abs(h.z_cm[rows.helix] - z_cm) < 2.5
            expected = factor * s.background_scatter_wires[superlayer]
            assert np.std(off[origin]) == pytest.approx(expected, rel=0.1)


def test_every_setting_and_source_line_changes_the_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cached table must not outlive the simulation that made it."""
    first = module.table_key(Simulation())
    assert first == module.table_key(Simulation())
    assert first != module.table_key(Simulation(omega_factor=0.99))
    assert module.__file__ is not None
    package = Path(module.__file__).parent
    shutil.copytree(package, tmp_path / "nnt" / "simulation")
    shutil.copy(package.parent / "detector.py", tmp_path / "nnt")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "nnt/simulation/x.py"))
    assert first == module.table_key(Simulation())
    for source in ("simulation/finder.py", "simulation/segments.py", "detector.py"):
        path = tmp_path / "nnt" / source
        path.write_text(path.read_text() + "\n# another line\n")
        changed = module.table_key(Simulation())
        assert changed != first
        first = changed


def test_shares_are_near_those_of_real_rows(sample_file: Path, tracks: Tracks) -> None:
    tables = read_tracks(sample_file), tracks
    shares: list[tuple[float, Callable[[Tracks], F64]]] = [
        (0.1, lambda t: np.bincount(t.expert, minlength=5) / len(t)),
        (0.1, lambda t: seen(t).mean(axis=0)),
        (0.05, lambda t: np.mean(np.abs(t.inputs[:, 1::3]) == 1, axis=0)),
    ]
    for off, share in shares:
        real, simulated = map(share, tables)
        assert np.abs(real - simulated).max() < off
