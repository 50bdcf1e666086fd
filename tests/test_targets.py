"""Targets of classes, and the loss of networks that have them, against loops."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nnt import metrics
from nnt.classes import Balance
from nnt.config import Config, load_config
from nnt.judging import ScoredTable, fit_balances, targets_of, whole_loss
from nnt.objective import value
from nnt.tracks import Tracks

MakeTracks = Callable[..., Tracks]

CLASSES = {"signal_cm": 10.0, "background_cm": 30.0, "balance": []}


def config_of(**keys: Any) -> Config:
    return load_config({"name": "classes", "experts": [0, 3], **keys})


def of_3dh(tracks: Tracks, seed: int = 0) -> Tracks:
    rng = np.random.default_rng(seed)
    return dataclasses.replace(
        tracks,
        reference=None,
        track_type=rng.integers(0, 4, len(tracks)),
        classes=rng.choice([-1, 1], (len(tracks), 2)).astype(np.float32),
    )


def test_targets_are_those_of_a_loop(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(300)
    config = config_of(outputs=["z", "theta", "nnt", "stt"], classes=CLASSES)
    targets, weights = targets_of(tracks, config, fit_balances(tracks, config))
    assert weights is not None
    np.testing.assert_array_equal(targets[:, :2], tracks.targets)
    assert (weights[:, :2] == 1).all()
    pt_gev = metrics.pt_gev(tracks)
    for i in range(len(tracks)):
        distance = abs(100 * float(tracks.targets[i, 0]))
        theta = math.radians(90 + 80 * float(tracks.targets[i, 1]))
        slow = float(pt_gev[i]) / math.sin(theta) < 0.7
        assert targets[i, 2] == (1 if distance < 10 else -1)
        assert (weights[i, 2] > 0) == (distance < 10 or distance > 30)
        assert targets[i, 3] == (1 if distance < 10 and not slow else -1)
        assert (weights[i, 3] > 0) == (distance < 10 or distance > 30 or slow)


@pytest.mark.parametrize("outputs", [["z"], ["z", "theta"]])
def test_without_classes_all_rows_count_alike(
    make_tracks: MakeTracks, outputs: list[str]
) -> None:
    tracks, config = make_tracks(50), config_of(outputs=outputs)
    targets, weights = targets_of(tracks, config, {})
    np.testing.assert_array_equal(targets, tracks.targets[:, : len(outputs)])
    assert weights is None


def test_a_decision_by_z_has_a_column_of_its_own(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(200)
    config = config_of(loss="TriggerLoss", classes=CLASSES)
    targets, weights = targets_of(tracks, config, fit_balances(tracks, config))
    assert weights is not None
    assert targets.shape == weights.shape == (200, 3)
    near = np.abs(tracks.targets[:, 0]) < 0.1
    np.testing.assert_array_equal(targets[:, 2] == 1, near)


def test_fakes_are_background_and_have_no_z(make_tracks: MakeTracks) -> None:
    tracks = of_3dh(make_tracks(300))
    assert tracks.fake is not None
    config = config_of(outputs=["z", "theta", "nnt", "stt"], classes=CLASSES)
    targets, weights = targets_of(tracks, config, fit_balances(tracks, config))
    assert weights is not None
    assert (weights[tracks.fake, :2] == 0).all()
    assert (weights[~tracks.fake, :2] == 1).all()
    # The classes are those of the file, and fakes always count.
    assert tracks.classes is not None
    np.testing.assert_array_equal(targets[:, 2:], tracks.classes)
    assert (weights[tracks.fake, 2:] > 0).all()


def test_weights_come_from_the_rows_to_train_on(make_tracks: MakeTracks) -> None:
    train, other = make_tracks(400, seed=1), make_tracks(100, seed=2)
    config = config_of(
        outputs=["z", "nnt"], classes={**CLASSES, "balance": ["charge", "theta"]}
    )
    targets, weights = targets_of(other, config, fit_balances(train, config))
    assert weights is not None

    def quantities(tracks: Tracks) -> dict[str, Any]:
        theta_deg = 90 + 80 * tracks.targets[:, 1]
        return {"charge": metrics.charge_sign(tracks.inputs), "theta": theta_deg}

    def classes(tracks: Tracks) -> tuple[Any, Any]:
        size = np.abs(100 * tracks.targets[:, 0])
        return np.where(size < 10, 1, -1), (size < 10) | (size > 30)

    balance = Balance.fit(*classes(train), quantities(train))
    expected = balance.weights(*classes(other), quantities(other))
    np.testing.assert_array_equal(weights[:, 1], expected)
    np.testing.assert_array_equal(targets[:, 1], classes(other)[0])


def test_the_loss_of_a_table_is_the_objective(make_tracks: MakeTracks) -> None:
    train, tracks = make_tracks(400, seed=1), make_tracks(200, experts=(0, 3))
    config = config_of(outputs=["z", "theta", "nnt"], classes=CLASSES, class_weight=2)
    whole = whole_loss(config, lambda: train, (0, 3))
    rng = np.random.default_rng(3)
    drawn = rng.uniform(-1, 1, (200, 3)).astype(np.float32)
    outputs = dict(zip(("z", "theta", "nnt"), drawn.T, strict=True))
    measured = {name: outputs[name] / 2 for name in ("z", "theta")}
    kept = np.ones(200, dtype=np.bool_)
    table = ScoredTable(
        tracks, kept, {"network": outputs, "reference": measured}, whole_loss=whole
    )
    for expert in (0, 3):
        rows = tracks.expert == expert
        part, own = tracks[rows], config.for_expert(expert)
        balances = fit_balances(train[train.expert == expert], own)
        expected = value(own.objective, drawn[rows], *targets_of(part, own, balances))
        found = table.metrics(expert)
        assert found["loss"] == pytest.approx(expected)
        # The ratio to a network without a class is over what both have.
        mse = [
            np.mean((factor * drawn[rows, :2] - part.targets) ** 2)
            for factor in (1, 0.5)
        ]
        assert found["loss_reference"] == pytest.approx(mse[1])
        assert found["loss_vs_reference"] == pytest.approx(mse[0] / mse[1])
        assert "rejection_at_eff96_by_class" in found
        assert "rejection_at_eff96_by_class_reference" not in found
