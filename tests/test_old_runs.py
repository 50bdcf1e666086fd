"""Runs of earlier versions stay readable, whatever their configurations held."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from nnt.config import load_config
from nnt.errors import ConfigError
from nnt.evaluation.loaded_run import load_run
from nnt.networks import ExpertWeights, initial_state, write_weights
from nnt.sampling import generator
from nnt.tracking import MlflowTracker

FAR_DIST = {"n_buckets": 11, "inf_bounds": True, "norm": {"mean": 0, "std": 40}}
OTHER_SIMULATION = {"tracks": 700, "seed": 5, "speed_of_light": 1.0}


def stored_run(values: dict[str, Any]) -> str:
    form = load_config({}).form
    state = initial_state(form, generator(1, 0, "weights"))
    tracker = MlflowTracker()
    run = tracker.start_run("old", description="", tags={})
    write_weights(run.directory / "weights.json", {0: ExpertWeights(state, form)})
    (run.directory / "config.yaml").write_text(yaml.safe_dump(values))
    for name in ("weights.json", "config.yaml"):
        run.log_file(run.directory / name)
    run.finish("FINISHED")
    tracker.close()
    return run.run_id


@pytest.mark.usefixtures("shared_project")
@pytest.mark.parametrize(
    ("changes", "warnings"),
    [
        ({"dist": FAR_DIST}, ["dist"]),
        ({"expert_2": {"dist": FAR_DIST, "epochs": 7}}, ["dist"]),
        ({"data": {"simulate": OTHER_SIMULATION}}, ["simulation"]),
        ({"dist": FAR_DIST, "data": {"simulate": OTHER_SIMULATION}},
         ["dist", "simulation"]),
    ],
)  # fmt: skip
def test_a_configuration_that_is_refused_today_is_read_from_a_run(
    changes: dict[str, Any], warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    values = {**load_config({"batch_size": 64}).to_dict(), **copy.deepcopy(changes)}
    with pytest.raises(ConfigError):
        load_config(values)
    loaded = load_run(stored_run(values))
    assert loaded.config is not None
    assert loaded.config.batch_size == 64
    if "expert_2" in changes:
        assert loaded.config.for_expert(2).epochs == 7
    if "data" in changes:
        assert loaded.config.data.simulate is not None
        assert loaded.config.data.simulate.tracks == 700
    said = [record.message for record in caplog.records]
    assert len(said) == len(warnings)
    assert all(word in text for word, text in zip(warnings, said, strict=True))


@pytest.mark.usefixtures("shared_project")
def test_a_configuration_that_nobody_understands_is_an_error() -> None:
    values = {**load_config({}).to_dict(), "batch_size": "many"}
    with pytest.raises(ConfigError, match=r"batch_size(.|\n)*download weights\.json"):
        load_run(stored_run(values))
