"""Runs that are exported, and those that are not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from some_networks import expert, of_form, source

from nnt.cli import main
from nnt.errors import ExportError
from nnt.export import export, load_source
from nnt.export.files import _check_cuts
from nnt.export.source import Source
from nnt.networks import ExpertWeights, Form, write_weights
from nnt.tracking import MlflowTracker


def stored(
    name: str = "baseline_v2",
    experts: Mapping[int, ExpertWeights] | None = None,
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
) -> str:
    """A run as a training leaves it, as far as an export looks."""
    tracker = MlflowTracker()
    run = tracker.start_run(name, description="", tags=dict(tags or {}))
    if experts:
        write_weights(run.directory / "weights.json", experts)
        run.log_file(run.directory / "weights.json")
    if metrics:
        run.log_metrics(metrics, 1)
    run.finish("FINISHED")
    tracker.close()
    return run.run_id


@pytest.mark.usefixtures("shared_project")
def test_a_run_is_exported_with_what_made_it(
    tmp_path: Path,
) -> None:
    made = {"git.commit": "c" * 40, "data.digest": "d"}
    run_id = stored(experts=source().experts, tags=made)
    out = str(tmp_path / "out")
    done = CliRunner().invoke(
        main, ["export", run_id, "--to", "basf2", "-o", out, "--json"]
    )
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    facts = {tag.replace(".", "_"): value for tag, value in made.items()}
    assert printed | facts | {"run_id": run_id} == printed
    assert printed["files"].keys() == {"weights.json", "neurotrigger.conf"}
    manifest = export(
        load_source(f"runs:/{run_id}/weights.json"), "fpga", tmp_path / "fpga"
    )
    assert manifest["weights_sha256"] == printed["weights_sha256"]


@pytest.mark.usefixtures("shared_project")
def test_networks_without_an_epoch_are_not_exported(tmp_path: Path) -> None:
    experts = source().experts
    parent = stored(experts=experts)
    trained, new = (
        stored(
            f"expert_{k}",
            {k: experts[k]},
            metrics,
            {"expert": str(k), "mlflow.parentRunId": parent},
        )
        for k, metrics in ((0, {"train/loss": 0.5}), (1, None))
    )
    for run in (parent, new):
        for target in ("basf2", "fpga", "onnx"):
            named = rf"not trained: expert 1, .* {parent}"
            with pytest.raises(ExportError, match=named):
                export(load_source(run), target, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export(load_source(trained), "onnx", tmp_path / "out")["files"]
    alone = rf"run {trained} holds expert 0 alone; .*, {parent}"
    with pytest.raises(ExportError, match=alone):
        export(load_source(trained), "basf2", tmp_path / "out")


@pytest.mark.usefixtures("shared_project")
@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"nnt.compared": "a b"}, "a comparison .* a or b"),
        ({"nnt.evaluated": "c"}, "an evaluation .*: c"),
    ],
)
def test_a_run_without_networks_names_those_that_have_them(
    tags: dict[str, str], named: str
) -> None:
    with pytest.raises(ExportError, match=named):
        load_source(stored("judged", tags=tags))


@pytest.mark.usefixtures("shared_project")
def test_the_manifest_holds_the_cuts_on_the_class(tmp_path: Path) -> None:
    own = of_form(Form(outputs=("z", "theta", "nnt", "stt")))
    cuts = {
        f"{split}/{of}cut_at_eff{n}_by_class": cut + shift + more
        for split, shift in (("val", 1.0), ("test", 0.0))
        for of, more in (("", 0), ("stt_", 0.125))
        for n, cut in {"95": 0.5, "96": 0.25001, "98": -0.25}.items()
    }
    run_id = stored("classes", own.experts, cuts)
    bits = (12, 8, 8, 10, 10, 10)
    manifest = export(load_source(run_id), "fpga", tmp_path / "a", precision=bits)
    assert {n: own["integer"] for n, own in manifest["class_cuts"].items()} == {
        "95": 512, "96": 256, "98": -256
    }  # fmt: skip
    assert {n: own["integer"] for n, own in manifest["stt_class_cuts"].items()} == {
        "95": 640, "96": 384, "98": -128
    }  # fmt: skip
    only = export(
        load_source(run_id).with_outputs(("z", "stt")), "fpga", tmp_path / "b"
    )
    assert "class_cuts" not in only
    assert "stt_class_cuts" in only


def test_cuts_are_read_back() -> None:
    own = Source("s", {0: expert(0)}, class_cuts={"stt": {"96": 0.25001}})
    for integer, fits in ((1024, True), (1023, False), (1025, False)):
        content = json.dumps({"stt_class_cuts": {"96": {"integer": integer}}}).encode()
        if fits:
            _check_cuts(own, 12, content)
        else:
            with pytest.raises(ExportError, match="cut on stt for 96 % came back"):
                _check_cuts(own, 12, content)


def test_a_file_is_exported_too(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    write_weights(path, source().experts)
    own = load_source(str(path))
    assert sorted(own.experts) == [0, 1, 2, 3, 4]
    options = ["-o", str(tmp_path / "out"), "--precision", "12,8,8,12,8,10"]
    done = CliRunner().invoke(main, ["export", str(path), "--to", "fpga", *options])
    assert done.exit_code == 0, done.output
    assert "weights.txt" in done.stdout


def test_a_refusal_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    write_weights(path, {0: expert(0)})
    done = CliRunner().invoke(
        main, ["export", str(path), "--to", "json", "-o", str(tmp_path / "out")]
    )
    assert done.exit_code == 1
    assert "not trained: expert 1, 2, 3, 4" in done.stderr
    assert "Traceback" not in done.output
