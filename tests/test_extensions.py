"""What users add goes wrong in words, and never costs them a training."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnt
from nnt import metrics
from nnt.config import load_config
from nnt.errors import ConfigError
from nnt.filters import FILTERS, Filter
from nnt.judging import kept_rows
from nnt.metrics import Metric, Predictions
from nnt.metrics.decisions import ADDED, Sample
from nnt.metrics.metric import METRICS
from nnt.simulation import simulate
from nnt.tracking import Tracker
from nnt.tracks import Tracks
from nnt.types import FloatArray


@dataclass(frozen=True)
class Answer(Filter):
    """Gives what it is told to give."""

    kind: str = "mask"
    lowest: Any = 0.0

    def __post_init__(self) -> None:
        if self.lowest < 0:
            raise ConfigError("Answer: expected lowest of at least 0")

    def __call__(self, tracks: Tracks) -> Any:
        mask = np.ones(len(tracks), dtype=np.bool_)
        answers: dict[str, Any] = {
            "mask": mask,
            "indices": np.flatnonzero(mask),
            "list": mask.tolist(),
            "short": mask[1:],
            "none": None,
        }
        return answers[self.kind]  # KeyError where it is told to fail


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return simulate(300, seed=1)


@pytest.fixture(autouse=True)
def _known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILTERS, "Answer", Answer)


@pytest.mark.parametrize("kind", ["indices", "list", "short", "none", "bad"])
@pytest.mark.parametrize("form", ["Answer('{}')", "ConCatFilter([Answer('{}')])"])
def test_what_is_no_mask_or_fails_is_refused(
    tracks: Tracks, kind: str, form: str
) -> None:
    config = load_config("base", [f"filter={form.format(kind)}"])
    why = "the filter fails with KeyError" if kind == "bad" else "expected an array of"
    with pytest.raises(ConfigError, match=f"^Answer: {why}"):
        kept_rows(config, tracks)


@pytest.mark.parametrize("kind", ["bad", "short"])
def test_a_filter_that_goes_wrong_is_named_once_before_a_run_is_opened(
    kind: str, tmp_path: Path
) -> None:
    config = load_config("baseline_v2", [f"filter=Answer({kind!r})"])
    config = load_config(config, {"data.simulate.tracks": 300})
    with pytest.raises(ConfigError, match=r"^Answer: (?!.*Answer)"):
        nnt.train(config, tracker=Tracker(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["'x'", "none"])
def test_a_filter_that_cannot_be_made_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"filter: Answer\(.*'<' not supported"):
        load_config("base", [f"filter=[{{Answer: {{lowest: {value}}}}}]"])


@pytest.mark.parametrize("value", [float("inf"), float("nan"), (1.0, float("inf")), 1j])
def test_fields_that_a_run_cannot_keep_are_refused(
    monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    @dataclass(frozen=True)
    class Open(Filter):
        most: Any = value

    monkeypatch.setitem(FILTERS, "Open", Open)
    with pytest.raises(ConfigError, match=r"Open\.most: expected finite numbers"):
        load_config("base", ["filter=Open()"])


@pytest.mark.parametrize(
    ("key", "value"),
    [("better", "bigger"), ("error", "event"), ("error", None)],
)
def test_a_metric_with_a_wrong_field_is_refused(key: str, value: object) -> None:
    fields: dict[str, Any] = {"better": "higher", "error": "none"}
    with pytest.raises(ValueError, match=f"metric mine: expected {key} to be"):
        Metric(name="mine", unit="", value=lambda _: 1.0, **{**fields, key: value})


def _fails(_: object) -> float:
    raise RuntimeError("no idea")


@pytest.mark.parametrize("part", ["value", "error"])
def test_a_metric_that_fails_is_left_out_and_named(
    tracks: Tracks,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    part: str,
) -> None:
    functions: dict[str, Any] = {"value": lambda _: 1.0, "error": lambda _: 0.5}
    name = f"fails_in_{part}"
    metric = Metric(name=name, unit="", better="higher", **functions | {part: _fails})
    monkeypatch.setitem(METRICS, name, metric)
    predicted = _predicted(tracks)
    with caplog.at_level(logging.WARNING, logger="nnt"):
        found = metrics.network_metrics(predicted)
        errors = metrics.metric_errors(
            found, Sample.of(predicted), metrics.Replicas(values={}, scale=1.0)
        )
    assert "n_tracks" in found
    assert (name in found) == (part == "error")
    assert name not in errors
    assert f"metric {name} cannot be computed" in caplog.text
    assert "no idea" in caplog.text


def test_a_metric_that_fails_has_no_replicas(
    tracks: Tracks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    metric = Metric(
        name="fails", unit="", better="higher", value=_fails, error="events"
    )
    monkeypatch.setitem(METRICS, "fails", metric)
    with caplog.at_level(logging.WARNING, logger="nnt"):
        drawn = metrics.replicas(_predicted(tracks))
    assert "fails" not in drawn.values
    assert "rejection_at_eff96" in drawn.values
    assert len(caplog.records) == 1


def _near(predicted: Predictions) -> FloatArray:
    residual = predicted.z_cm - predicted.z_reco_cm
    return np.where(np.abs(predicted.z_reco_cm) < 10, residual, np.nan)


def test_an_added_quantity_has_its_rows_and_their_events(
    tracks: Tracks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ADDED, "near", _near)
    predicted = _predicted(tracks)
    values, event = metrics.decisions.quantities(predicted)["near"]
    rows = [i for i, z_cm in enumerate(predicted.z_reco_cm) if abs(z_cm) < 10]
    assert 0 < len(rows) < len(tracks)
    np.testing.assert_array_equal(event, predicted.event[rows])
    np.testing.assert_array_equal(values, (predicted.z_cm - predicted.z_reco_cm)[rows])


@pytest.mark.parametrize("function", [_fails, lambda _: np.ones(3)])
def test_a_quantity_that_fails_is_left_out(
    tracks: Tracks,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    function: Any,
) -> None:
    name = f"wrong {function}"
    monkeypatch.setitem(ADDED, name, function)
    with caplog.at_level(logging.WARNING, logger="nnt"):
        assert name not in metrics.decisions.quantities(_predicted(tracks))
    assert "cannot be computed and is left out" in caplog.text


def test_a_table_says_in_a_line_what_it_holds(tracks: Tracks) -> None:
    text = repr(tracks)
    assert f"{len(tracks):,} rows" in text
    assert "\n" not in text
    assert len(text) < 200


def _predicted(tracks: Tracks) -> Predictions:
    z, theta = tracks.targets.T
    return metrics.predictions(tracks, {"z": 0.9 * z, "theta": theta})
