"""The simulation: reproducible, in range, and true to the geometry."""

from __future__ import annotations

import numpy as np
import pytest

from nnt.detector import (
    ALPHA_SCALE,
    EXPERT_MISSING_SUPERLAYER,
    ID_RANGES,
    SUPERLAYERS,
    T_MAX_TICKS,
    id_scaling,
    superlayer_inputs,
)
from nnt.errors import ConfigError
from nnt.simulation import Simulation, simulate, simulate_with
from nnt.tracks import Tracks

N_ROWS = 20_000


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return simulate(N_ROWS, seed=3)


def seen(tracks: Tracks, superlayer: int) -> np.ndarray:
    return np.any(tracks.inputs[:, superlayer_inputs(superlayer)] != 0, axis=1)


def test_makes_as_many_rows_as_asked(tracks: Tracks) -> None:
    assert len(tracks) == N_ROWS
    assert np.isfinite(tracks.inputs).all()


def test_same_seed_same_bytes_other_seed_other_rows(tracks: Tracks) -> None:
    assert simulate(N_ROWS, seed=3).digest == tracks.digest
    assert simulate(N_ROWS, seed=4).digest != tracks.digest


def test_targets_lie_in_their_range(tracks: Tracks) -> None:
    assert np.abs(tracks.targets).max() <= 1


def test_at_least_four_axial_superlayers(tracks: Tracks) -> None:
    axial = sum(seen(tracks, sl).astype(int) for sl in range(0, 9, 2))
    assert axial.min() >= 4


def test_expert_lacks_its_superlayer_and_no_other_stereo_one(tracks: Tracks) -> None:
    for expert, missing in enumerate(EXPERT_MISSING_SUPERLAYER):
        rows = tracks[tracks.expert == expert]
        assert len(rows)
        for superlayer in (1, 3, 5, 7):
            assert np.all(seen(rows, superlayer) == (superlayer != missing))


def test_rel_ids_lie_in_their_windows(tracks: Tracks) -> None:
    for superlayer, (lower, upper) in enumerate(ID_RANGES):
        scaling = id_scaling(lower, upper)
        hits = tracks.inputs[seen(tracks, superlayer), 3 * superlayer]
        rel_id = hits / scaling.scale + scaling.offset
        assert rel_id.min() >= lower - 1e-5
        assert rel_id.max() <= upper + 1e-5


def test_drift_times_are_whole_ticks(tracks: Tracks) -> None:
    ticks = tracks.inputs[:, 1::3] * T_MAX_TICKS
    assert np.array_equal(ticks, np.round(ticks))
    assert np.abs(ticks).max() <= T_MAX_TICKS


def test_crossing_angles_of_a_row_belong_to_one_curvature(tracks: Tracks) -> None:
    inner, outer = SUPERLAYERS[1], SUPERLAYERS[3]
    rows = tracks[tracks.expert == 0]
    sine = [
        np.sin(rows.inputs[:, 3 * s.index + 2] / ALPHA_SCALE) for s in (inner, outer)
    ]
    second = inner.radius_cm[1] / inner.radius_cm[0]
    ratio = sine[1] / sine[0] * inner.radius_cm[0] / outer.radius_cm[0]
    curved = np.abs(sine[0]) > 0.01
    # Either may have been hit in its second priority layer.
    assert np.all(ratio[curved] > 1 / second - 1e-3)
    assert np.all(ratio[curved] < second + 1e-3)


def test_rel_id_follows_z_along_stereo_wires() -> None:
    clean = Simulation(
        tracks=N_ROWS,
        seed=1,
        wrong_segment_share=0.0,
        hit_efficiency=1.0,
        theta_min_deg=89.9,
        theta_max_deg=90.1,
        reco_z_std_cm=0.0,
    )
    rows = simulate_with(clean)
    for superlayer in (s for s in SUPERLAYERS if s.is_stereo):
        hit = seen(rows, superlayer.index)
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
    first = np.flatnonzero(np.append(True, np.diff(event) != 0))
    assert np.all(ids["Track"][first] == 0)
    assert np.all(ids["Track"] < ids["nTracks"])


def test_progress_ends_at_the_total() -> None:
    calls: list[tuple[int, int]] = []
    simulate(1000, seed=1, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (1000, 1000)


def test_no_tracks_is_an_error() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        simulate(0)


def test_drift_sign_falls_with_rel_id(tracks: Tracks) -> None:
    """A wire at larger azimuth than the track (relID > 0) counts as right, -1."""
    for superlayer in (0, 2, 4):
        rel_id, drift = tracks.inputs[:, 3 * superlayer : 3 * superlayer + 2].T
        decided = drift != 0
        correlation = np.corrcoef(rel_id[decided], np.sign(drift[decided]))[0, 1]
        assert correlation < -0.1
