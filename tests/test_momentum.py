"""Momentum and charge of the trigger's tracks, from columns or crossing angles."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from nnt import metrics
from nnt.detector import ALPHA_SCALE, HOUGH3D, OMEGA_CM_TIMES_PT_GEV, SUPERLAYERS
from nnt.tracks import Tracks, read_tracks
from nnt.tracks.table import make_ids


def crossing_angles(
    pt_gev: float, second: tuple[int, ...], seen: range | tuple[int, ...]
) -> npt.NDArray[np.float32]:
    inputs = np.zeros(27, dtype=np.float32)
    for sl in seen:
        radius_cm = SUPERLAYERS[sl].radius_cm[sl in second]
        sine = radius_cm * OMEGA_CM_TIMES_PT_GEV / pt_gev / 2
        inputs[3 * sl + 2] = ALPHA_SCALE * (np.arcsin(sine) if sine < 1 else np.pi / 2)
    return inputs


@pytest.mark.parametrize("pt_gev", [0.3, 0.7, 2.0, 9.0])
@pytest.mark.parametrize(
    ("second", "seen"), [((), range(9)), ((1, 8), range(9)), ((3,), (0, 2, 3, 4, 6, 8))]
)
def test_momentum_comes_back_from_crossing_angles(
    pt_gev: float, second: tuple[int, ...], seen: range | tuple[int, ...]
) -> None:
    inputs = crossing_angles(pt_gev, second, seen)[None]
    assert metrics.pt_from_crossing_angles(inputs) == pytest.approx(pt_gev, rel=1e-5)
    assert metrics.pt_from_crossing_angles(-inputs) == pytest.approx(pt_gev, rel=1e-5)


@pytest.mark.parametrize(
    ("superlayers", "pt_gev"),
    [
        ({}, math.nan),
        ({0: (0.5, 0, 0)}, math.inf),
        ({0: (0, -1, 0)}, math.inf),
        (dict.fromkeys(range(9), (0.1, 0.2, 0)), math.inf),
        # Two superlayers tell a curvature, two that there is none: the lower.
        ({0: (0.1, 1, 0), 1: (0, 1, 0), 2: (0, 1, 0.1), 3: (0, 1, 0.1)}, math.inf),
        ({0: (0.1, 1, 0), 2: (0, 1, 0.1), 4: (0, 1, 0.1)}, "finite"),
    ],
)
def test_a_crossing_angle_of_zero_is_no_missing_superlayer(
    superlayers: dict[int, tuple[float, float, float]], pt_gev: float | str
) -> None:
    inputs = np.zeros((1, 27), np.float32)
    for number, values in superlayers.items():
        inputs[0, 3 * number : 3 * number + 3] = values
    found = float(metrics.pt_from_crossing_angles(inputs)[0])
    if pt_gev == "finite":
        assert 0 < found < math.inf
    else:
        assert found == pytest.approx(pt_gev, nan_ok=True)


def test_a_hit_pattern_alone_is_a_hit() -> None:
    inputs = np.zeros((1, 126), np.float32)
    inputs[0, 13] = 1
    assert np.isinf(metrics.pt_from_crossing_angles(inputs)[0])


@pytest.mark.parametrize("width", [3, 14])
def test_momentum_is_that_of_either_chain(width: int) -> None:
    classic = crossing_angles(0.9, (), range(9))[None]
    inputs = np.zeros((1, 9 * width), np.float32)
    inputs[:, 2::width] = classic[:, 2::3] * 2
    found = metrics.pt_from_crossing_angles(inputs, HOUGH3D.alpha_scale)
    assert found == pytest.approx(0.9, rel=1e-5)


@pytest.mark.parametrize("width", [3, 14])
def test_charge_is_the_sign_of_the_innermost_crossing_angle(width: int) -> None:
    inputs = np.zeros((3, 9 * width), np.float32)
    inputs[0, 2 + width :: width] = 0.3
    inputs[1, 2::width] = -0.2
    inputs[1, 2 + 7 * width :] = np.pi / 4  # curled up before these
    assert metrics.charge_sign(inputs).tolist() == [1, -1, 0]


def test_the_column_goes_before_the_crossing_angles() -> None:
    inputs = crossing_angles(1.0, (), range(9))[None]
    table = Tracks(make_ids({}, 1), inputs, np.zeros((1, 2), np.float32))
    assert metrics.pt_gev(table) == pytest.approx(1.0, rel=1e-5)
    extras = {"2DinvPt": np.array([-0.5], np.float32)}
    assert metrics.pt_gev(dataclasses.replace(table, extras=extras)) == 2.0


def test_superlayers_of_real_rows_tell_the_same_momentum(sample_file: Path) -> None:
    tracks = read_tracks(sample_file, use_cache=False)
    together = metrics.pt_gev(tracks)
    for sl in range(9):
        alone = np.zeros_like(tracks.inputs)
        alone[:, 3 * sl + 2] = tracks.inputs[:, 3 * sl + 2]
        ratio = metrics.pt_from_crossing_angles(alone) / together
        ratio = ratio[np.isfinite(ratio)]
        first, second = SUPERLAYERS[sl].radius_cm
        # Second priority: its larger radius seems a smaller momentum.
        assert np.mean(np.abs(ratio - 1) < 1e-3) > 0.6
        rest = ratio[np.abs(ratio - 1) >= 1e-3]
        assert np.mean(np.abs(rest - first / second) < 3e-3) > 0.7
