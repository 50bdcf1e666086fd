"""Runs as event files, read back by TensorBoard itself."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import nnt
from nnt.cli import main
from nnt.tracking import MlflowTracker, open_run

EVERYTHING = {"scalars": 0, "images": 0, "tensors": 0}


pytestmark = pytest.mark.usefixtures("project")


def write(run_id: str, folder: str = "events") -> Result:
    return CliRunner().invoke(main, ["tensorboard", run_id, folder, "--json"])


def read(directory: Path) -> EventAccumulator:
    events = EventAccumulator(str(directory), EVERYTHING)
    events.Reload()
    return events


def test_a_training_is_read_back_with_all_points_and_images(project: Path) -> None:
    data = {"simulate": {"tracks": 1500, "seed": 1}, "split": [0.6, 0.2, 0.2]}
    small = {"data": data, "experts": [0], "epochs": 3, "plot_every": 3}
    trained = nnt.train(nnt.load_config("baseline_v2", overrides=small))
    done = write(trained.run_id)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    place = project / "events" / f"baseline_v2_{trained.run_id[:8]}"
    assert (told["directory"], told["runs"]) == (f"events/{place.name}", 2)

    parent = open_run(trained.run_id)
    (child,) = parent.children()
    n_points = n_images = 0
    for run, folder in ((parent, place), (child, place / "expert_0")):
        events = read(folder)
        assert set(events.Tags()["scalars"]) == set(run.metrics)
        for name in run.metrics:
            found = [(e.step, e.value) for e in events.Scalars(name)]
            stored = [(step, np.float32(value)) for step, _, value in run.history(name)]
            assert found == stored
            n_points += len(found)
        n_images += sum(len(events.Images(tag)) for tag in events.Tags()["images"])
    assert told["points"] == n_points > 100
    assert told["images"] == n_images > 20

    text = read(place).Tensors("description/text_summary")[0].tensor_proto
    assert text.string_val[0].decode() == parent.tags["mlflow.note.content"]
    live = read(place / "expert_0").Images("z_residual")[-1]
    assert live.step == 3
    (path,) = [
        p for p in child.artifacts("images") if "z_residual" in p and p[-4:] == ".png"
    ]
    original, shown = child.download(path, project), live.encoded_image_string
    with Image.open(original) as image, Image.open(BytesIO(shown)) as again:
        assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(again))

    repeated = write(trained.run_id)
    assert repeated.exit_code == 1
    assert "already" in repeated.output


def test_names_stay_inside_the_directory_and_apart(project: Path) -> None:
    tracker = MlflowTracker()
    parent = tracker.start_run("../../outside", description="", tags={})
    for _ in range(2):
        child = tracker.start_child(parent, "a/../trial", {})
        child.log_metrics({"loss": 0.5}, 1)
        child.log_bytes(b"not a picture", "plots/broken.png")
        child.finish("FINISHED")
    parent.finish("FINISHED")
    tracker.close()
    done = write(parent.run_id)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == 0
    files = list(project.rglob("events.out.tfevents.*"))
    assert len({file.parent for file in files}) == 3
    assert all(file.is_relative_to(project / "events") for file in files)


def test_without_tensorboard_the_remedy_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    done = write("0" * 32)
    assert done.exit_code == 1
    assert "pip install 'tensorboard>=2.17'" in done.output
