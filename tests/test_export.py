"""Files for deployment hold what was trained, in the form that BASF2 reads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from nnt import fixedpoint
from nnt.cli import main
from nnt.detector import EXPERT_MISSING_SUPERLAYER
from nnt.errors import ExportError
from nnt.export import (
    TARGETS,
    Settings,
    Source,
    export,
    export_run,
    load_source,
    read_settings,
)
from nnt.export.settings import Setting, default_settings, parse_settings
from nnt.export.source import word_cuts
from nnt.fixedpoint import FixedPointNetworks
from nnt.networks import (
    ACTIVATIONS,
    HOUGH3D,
    OUTPUTS,
    ExpertWeights,
    Form,
    Networks,
    firmware_network,
    initial_state,
    read_weights,
    write_weights,
)
from nnt.tracking import MlflowTracker
from nnt.tracks import Tracks


def expert(
    seed: int, model: str = "BaselineModel", act: str = "tanh/2", out_size: int = 2
) -> ExpertWeights:
    form = Form(outputs=OUTPUTS[:out_size], activation=act, model=model)
    return ExpertWeights(initial_state(form, np.random.default_rng(seed)), form)


def source(**kind: Any) -> Source:
    experts = {k: expert(k, **kind) for k in range(5)}
    return Source("here", experts, {"run_id": "0" * 32})


def flat_of_json(path: Path, k: int) -> list[float]:
    """Rows, each followed by its bias: what BASF2's converter makes of the file."""
    weights = json.loads(path.read_text())[f"expert_{k}"]["weights"]
    flat: list[float] = []
    for layer in ("model.net.0", "model.net.2"):
        rows, biases = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        for row, bias in zip(rows, biases, strict=True):
            flat += [*row, bias]
    return flat


def c_round(value: float) -> int:
    """C rounds halves away from zero, Python to even."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def test_the_command_describes_every_target() -> None:
    shown = CliRunner().invoke(main, ["export", "--help"]).output
    for name, target in TARGETS.items():
        assert f"{name:7} {target.help}" in shown


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_manifest_tells_what_was_written(tmp_path: Path, target: str) -> None:
    own = source()
    if target == "3dh":
        own = Source("here", {-1: hough3d_expert()}, own.facts)
    manifest = export(own, target, tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {*manifest["files"], "MANIFEST.json"}
    assert json.loads((tmp_path / "out" / "MANIFEST.json").read_text()) == manifest
    assert manifest["run_id"] == "0" * 32
    assert {tuple(own["outputs"]) for own in manifest["experts"].values()} == {
        OUTPUTS if target == "3dh" else ("z", "theta")
    }
    for name, entry in manifest["files"].items():
        content = (tmp_path / "out" / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["bytes"] == len(content)
        assert name in manifest["checks"]


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_only_what_a_target_takes_can_be_chosen(tmp_path: Path, target: str) -> None:
    kind = TARGETS[target]
    own = Source("s", {-1: hough3d_expert()}) if target == "3dh" else source()
    bits = (12, 8, 8, 11, 9, 9)
    asked: list[tuple[bool, dict[str, Any]]] = [
        (kind.takes_precision, {"precision": bits}),
        (kind.takes_settings, {"settings": default_settings()}),
        (kind.computes_outputs, {"saturate_13_bit": True}),
    ]
    for is_taken, options in asked:
        if is_taken:
            manifest = export(own, target, tmp_path, overwrite=True, **options)
            assert "precision" not in options or manifest["precision"] == [*bits]
        else:
            with pytest.raises(ExportError, match=rf"^{target}: "):
                export(own, target, tmp_path, overwrite=True, **options)


def test_json_holds_every_weight_exactly(tmp_path: Path) -> None:
    own = source()
    export(own, "json", tmp_path)
    again = read_weights(tmp_path / "weights.json")
    assert sorted(again) == [0, 1, 2, 3, 4]
    for k, weights in own.experts.items():
        for name, value in weights.state.items():
            np.testing.assert_array_equal(again[k].state[name], value)
        assert len(flat_of_json(tmp_path / "weights.json", k)) == 2432


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({"model": "BaselineModelBN"}, "batch normalisation"),
        ({"act": "tanh"}, "weights times 2"),
    ],
)
def test_networks_are_brought_into_the_form(
    tmp_path: Path, kind: dict[str, str], told: str
) -> None:
    manifest = export(source(**kind), "json", tmp_path)
    again = read_weights(tmp_path / "weights.json")
    assert {own.form for own in again.values()} == {Form()}
    assert told in manifest["experts"]["3"]["changes"][0]
    check = manifest["checks"]["weights.json"]
    assert check["largest_output_difference_scaled"] < 1e-5


@pytest.mark.parametrize("bits", [10, 6])
def test_fpga_integers_are_the_rounded_weights(tmp_path: Path, bits: int) -> None:
    own = source()
    export(own, "json", tmp_path / "a")
    precision = (12, 8, 8, 12, bits, 10)
    export(own, "fpga", tmp_path / "b", precision=precision)
    lines = (tmp_path / "b" / "weights.txt").read_text().splitlines()
    assert len(lines) == 25
    for k, missing in enumerate(EXPERT_MISSING_SUPERLAYER):
        number, limits, patterns, nodes, flat = lines[5 * k : 5 * k + 5]
        floats = np.array(flat_of_json(tmp_path / "a" / "weights.json", k))
        whole = np.array([c_round(w * 2**bits) for w in floats])
        if missing is not None:
            first = whole[: 81 * 28].reshape(81, 28)
            first[:, 3 * missing : 3 * missing + 3] = 0
        np.testing.assert_array_equal(np.array(flat.split(), dtype=int), whole)
        assert number == str(k)
        assert patterns == f"{[511, 383, 479, 503, 509][k]} 170"
        assert nodes == "27 81 2"
        assert limits.split()[:4] == ["-1.5", "1.5", "-7.5", "-0.5"]
        assert len(limits.split()) == 18


def test_basf2_writes_every_key(tmp_path: Path) -> None:
    export(source(), "basf2", tmp_path)
    text = (tmp_path / "neurotrigger.conf").read_text()
    assert "\nIDRanges = [[0,-1.5,1.5,-7.5,-0.5," in text
    assert "\noutputScale = [[-100,100,10,170]]\n" in text
    assert "\nSLpattern = [511,383,479,503,509]\n" in text
    assert "\nprecision = [12,8,8,12,10,10]\n" in text
    keys = [line.split(" = ")[0] for line in text.splitlines() if line[0] != "#"]
    assert len(keys) == 24 == len(set(keys))


def test_networks_of_z_only_say_so_in_the_configuration(tmp_path: Path) -> None:
    export(source(out_size=1), "basf2", tmp_path)
    text = (tmp_path / "neurotrigger.conf").read_text()
    assert "\ntargetTheta = 0\n" in text
    assert "\noutputScale = [[-100,100]]\n" in text


GIVEN = """\
# of the data
IDRanges == [[0,{0}],[1,{0}],[2,{0}],[3,{0}],[4,{0}]]  # 19 numbers each
tMax=250
outputScale = [-50, 50, 0, 180]
SLPattern == [511,383,479,503,509]
AdditionWireMode = 2
ETOption = 6
""".format("-1,1,-10,1,-1,1,-1,10,-1,1,-10.5,1,-1,1,-1,11,-1,1")


def test_settings_of_the_data_go_unchanged_into_the_files(tmp_path: Path) -> None:
    (tmp_path / "given.conf").write_text(GIVEN)
    settings = read_settings(tmp_path / "given.conf")
    export(source(), "basf2", tmp_path / "a", settings=settings)
    text = (tmp_path / "a" / "neurotrigger.conf").read_text()
    assert "\nIDRanges == [[0,-1,1,-10,1," in text
    assert "\nSLpattern == [511," in text
    assert "\ntMax = 250\n" in text
    assert "\noutputScale = [[-50,50,0,180]]\n" in text
    assert "\nETOption = 6\n" in text
    assert "\nAdditionWireMode = 2\n" in text
    assert "\nnHidden = [[81]]\n" in text
    export(source(), "fpga", tmp_path / "b", settings=settings)
    limits = (tmp_path / "b" / "weights.txt").read_text().splitlines()[6]
    assert limits.startswith("-1 1 -10 1 ")


def test_settings_come_back(tmp_path: Path) -> None:
    own = default_settings()
    assert dict(parse_settings(own.text(), "text")) == dict(own)


numbers = st.floats(-1e6, 1e6)


@given(st.lists(st.lists(numbers, min_size=1), min_size=1), st.booleans())
def test_any_value_comes_back(rows: list[list[float]], locked: bool) -> None:
    value = tuple(tuple(row) for row in rows)
    own = Settings({"key": Setting(value, locked)})
    assert dict(parse_settings(own.text(), "text")) == dict(own)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tMax = [1]", "tMax: expected one number"),
        ("SLpattern = 5", r"SLpattern: expected a list \[a, b\]"),
        ("tMax = many", "expected a number, found 'many'"),
        ("tMax == 256\ntMax = 255", "was locked"),
        ("maxHitsPerSL = [2]", "one track segment"),
        ("IDRanges = [[0,1,2]]", "IDRanges: expected one row"),
        ("IDRanges = [[0,1],[1,1],[2,1],[3,1],[4,1]]", "9 pairs"),
        ("phiRangeTrain = [[10,350]]", "phiRangeTrain must enclose"),
        ("outputScale = [[-100,100]]", "outputScale: expected 4 limits"),
        ("precision = [1,2,3]", "expected 6 counts"),
        ("SLpattern = [511,383]", "SLpattern: expected 1 or 5"),
    ],
)
def test_settings_that_basf2_would_misread_are_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    (tmp_path / "given.conf").write_text(text)
    with pytest.raises(ExportError, match=reason):
        export(
            source(), "basf2", tmp_path / "out",
            settings=read_settings(tmp_path / "given.conf"),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def lacking(*missing: int) -> Source:
    experts = {k: expert(k) for k in range(5) if k not in missing}
    return Source("run abc", experts)


def large() -> Source:
    own = source()
    own.experts[2].state["net.0.weight"][3, 4] = 64
    return own


@pytest.mark.parametrize(
    ("own", "target", "reason"),
    [
        (lacking(2, 4), "json", "run abc: .* not trained: expert 2, 4"),
        (Source("solo", {-1: expert(0)}), "fpga", "the source holds -1"),
        (source(act="softsign"), "basf2", "expert 0: the firmware has tanh"),
        (source(model="SimpleModel", act="tanh"), "json", "SimpleModel"),
        (large(), "fpga", "expert 2: the largest weight is 64; words of 17 bits"),
        (source(), "root", "did you mean|valid"),
    ],
)
def test_what_a_target_cannot_hold_is_refused(
    tmp_path: Path, own: Source, target: str, reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        export(own, target, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_are_not_replaced_unasked(tmp_path: Path) -> None:
    export(source(), "json", tmp_path)
    before = (tmp_path / "weights.json").read_bytes()
    with pytest.raises(ExportError, match=r"holds weights.json, MANI"):
        export(source(act="tanh"), "json", tmp_path)
    assert (tmp_path / "weights.json").read_bytes() == before
    export(source(act="tanh"), "json", tmp_path, overwrite=True)
    assert (tmp_path / "weights.json").read_bytes() != before


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One store for all: to make its tables takes seconds."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield folder


def stored_run() -> str:
    """A run as a training leaves it, as far as an export looks."""
    tracker = MlflowTracker()
    run = tracker.start_run(
        "baseline_v2", description="", tags={"git.commit": "c" * 40, "data.digest": "d"}
    )
    path = run.directory / "weights.json"
    write_weights(path, source().experts)
    run.log_file(path)
    run.finish("FINISHED")
    tracker.close()
    return run.run_id


@pytest.mark.usefixtures("store")
def test_a_run_is_exported_with_what_made_it(
    tmp_path: Path,
) -> None:
    run_id, out = stored_run(), str(tmp_path / "out")
    done = CliRunner().invoke(
        main, ["export", run_id, "--to", "basf2", "-o", out, "--json"]
    )
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    assert printed["run_id"] == run_id
    assert printed["git_commit"] == "c" * 40
    assert printed["data_digest"] == "d"
    assert printed["files"].keys() == {"weights.json", "neurotrigger.conf"}
    manifest = export_run(f"runs:/{run_id}/weights.json", "fpga", tmp_path / "fpga")
    assert manifest["weights_sha256"] == printed["weights_sha256"]


def child_of(parent: str, tracker: MlflowTracker, expert: int, epochs: int) -> str:
    run = tracker.start_run(
        f"expert_{expert}",
        description="",
        tags={"expert": str(expert), "mlflow.parentRunId": parent},
    )
    if epochs:
        run.log_metrics({"train/loss": 0.5}, epochs)
    path = run.directory / "weights.json"
    write_weights(path, {expert: source().experts[expert]})
    run.log_file(path)
    run.finish("FINISHED")
    return run.run_id


@pytest.mark.usefixtures("store")
def test_networks_without_an_epoch_are_not_exported(tmp_path: Path) -> None:
    parent = stored_run()
    tracker = MlflowTracker()
    trained, new = (
        child_of(parent, tracker, k, epochs) for k, epochs in ((0, 3), (1, 0))
    )
    tracker.close()
    for run in (parent, new):
        for target in ("basf2", "fpga", "onnx"):
            named = rf"not trained: expert 1, .* {parent}"
            with pytest.raises(ExportError, match=named):
                export_run(run, target, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert export_run(trained, "onnx", tmp_path / "out")["files"]
    alone = rf"run {trained} is that of expert 0 alone; .*, {parent}"
    with pytest.raises(ExportError, match=alone):
        export_run(trained, "basf2", tmp_path / "out")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("tags", "named"),
    [
        ({"nnt.kind": "comparison", "nnt.compared": "a b"}, "a comparison .* a or b"),
        ({"nnt.kind": "evaluation", "nnt.evaluated": "c"}, "an evaluation .*: c"),
    ],
)
def test_a_run_without_networks_names_those_that_have_them(
    tags: dict[str, str], named: str
) -> None:
    tracker = MlflowTracker()
    run = tracker.start_run("judged", description="", tags=tags)
    run.finish("FINISHED")
    tracker.close()
    with pytest.raises(ExportError, match=named):
        load_source(run.run_id)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_settings_in_the_files_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    own = Source("s", {-1: hough3d_expert()}) if target == "3dh" else source()
    with caplog.at_level(logging.WARNING, "nnt"):
        manifest = export(own, target, tmp_path / "a")
    holds_settings = target in ("json", "basf2", "fpga")
    assert ("BASF2's defaults" in manifest.get("settings", "")) == holds_settings
    assert ("without --settings, the ID ranges" in caplog.text) == holds_settings
    if holds_settings:
        (tmp_path / "given.conf").write_text(GIVEN)
        given = read_settings(tmp_path / "given.conf")
        manifest = export(own, target, tmp_path / "b", settings=given)
        assert manifest["settings"] == str(tmp_path / "given.conf")


def of_form(form: Form) -> Source:
    """Five experts of any form, with some weights of 0."""
    experts = {}
    for k in range(5):
        rng = np.random.default_rng(k)
        state = {n: 2 * v for n, v in initial_state(form, rng).items()}
        experts[k] = ExpertWeights(state, form)
    return Source("here", experts)


FORMS = [
    Form(hidden=(), outputs=("nnt",)),
    Form(hidden=(8, 9), outputs=("z", "theta", "nnt")),
    Form(hidden=(5, 6, 7, 8, 9), outputs=OUTPUTS, activation="tanh"),
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("target", ["fpga", "onnx"])
def test_networks_of_any_form_go_to_the_firmware(
    tmp_path: Path, form: Form, target: str
) -> None:
    manifest = export(of_form(form), target, tmp_path)
    expert = manifest["experts"]["4"]
    assert expert["nodes"] == list(form.nodes)
    assert expert["outputs"] == list(form.outputs)
    if target == "onnx":
        assert manifest["checks"]["experts_fixed_point.onnx"] == {
            "outputs": "bit for bit"
        }


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (Form(hidden=(8, 9)), "one hidden layer, found 2 in 27-8-9-2 .* --to fpga"),
        (Form(hidden=()), "one hidden layer, found 0"),
        (
            Form(outputs=("z", "theta", "nnt")),
            "z and theta, found z, theta, nnt; --outputs z,theta hands",
        ),
        (Form(outputs=("z", "stt")), "--outputs z hands"),
        (Form(outputs=("nnt",)), "found nnt; .* --to onnx"),
        (Form(hidden=(8, 9), outputs=OUTPUTS), "hidden layer, .* and with the outputs"),
    ],
)
@pytest.mark.parametrize("target", ["json", "basf2"])
def test_what_the_converter_cannot_take_is_said_with_what_can(
    tmp_path: Path, form: Form, told: str, target: str
) -> None:
    with pytest.raises(ExportError, match=rf"^BASF2's converter .*{told}"):
        export(of_form(form), target, tmp_path / "out")


def test_a_network_is_handed_over_without_its_class(tmp_path: Path) -> None:
    own = of_form(Form(outputs=("z", "theta", "nnt")))
    path = tmp_path / "weights.json"
    write_weights(path, own.experts)
    manifest = export_run(str(path), "basf2", tmp_path / "out", outputs=("theta", "z"))
    assert manifest["outputs"] == "z,theta"
    again = read_weights(tmp_path / "out" / "weights.json")
    rows = np.random.default_rng(0).uniform(-1, 1, (9, 27)).astype(np.float32)
    number = np.zeros(9, dtype=np.int64)
    np.testing.assert_array_equal(
        Networks(again).predict_inputs(rows, number),
        Networks(own.experts).predict_inputs(rows, number)[:, :2],
    )
    with pytest.raises(ExportError, match="outputs: expected names out of z, theta, n"):
        own.with_outputs(("z", "stt"))


@given(st.floats(-1, 1), st.integers(0, 20))
def test_a_cut_on_integers_keeps_what_the_cut_keeps(cut: float, bits: int) -> None:
    whole = word_cuts({"96": cut}, bits)["96"]["integer"]
    integers = np.arange(-8, 9) + round(cut * 2**bits)
    np.testing.assert_array_equal(integers > whole, integers / 2.0**bits > cut)


@pytest.mark.usefixtures("store")
def test_the_manifest_holds_the_cuts_on_the_class(tmp_path: Path) -> None:
    own = of_form(Form(outputs=("z", "theta", "nnt")))
    tracker = MlflowTracker()
    run = tracker.start_run("classes", description="", tags={})
    write_weights(run.directory / "weights.json", own.experts)
    run.log_file(run.directory / "weights.json")
    cuts = {"95": 0.5, "96": 0.25001, "98": -0.25}
    for prefix, shift in (("val", 1.0), ("test", 0.0)):
        named = {f"{prefix}/cut_at_eff{n}_by_class": c + shift for n, c in cuts.items()}
        run.log_metrics(named, 0)
    run.finish("FINISHED")
    tracker.close()
    bits = (12, 8, 8, 10, 10, 10)
    manifest = export_run(run.run_id, "fpga", tmp_path / "a", precision=bits)
    assert {n: own["integer"] for n, own in manifest["class_cuts"].items()} == {
        "95": 512, "96": 256, "98": -256
    }  # fmt: skip
    without = export_run(run.run_id, "fpga", tmp_path / "b", outputs=("z", "theta"))
    assert "class_cuts" not in without


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


def hough3d_expert(n_inputs: int = 126, act: str = "tanh") -> ExpertWeights:
    form = Form(n_inputs, outputs=OUTPUTS, activation=act)
    rng = np.random.default_rng(3)
    return ExpertWeights(
        {
            name: rng.normal(0, 0.4, shape).astype(np.float32)
            for name, shape in form.shapes.items()
        },
        form,
    )


def test_3dh_files_have_their_form(tmp_path: Path) -> None:
    own = hough3d_expert()
    manifest = export(Source("here", {-1: own}), "3dh", tmp_path)
    flat = json.loads((tmp_path / "weights_3dh.json").read_text())
    names = ["model.0.weight", "model.0.bias", "model.2.weight", "model.2.bias"]
    assert list(flat) == names
    assert flat["model.2.bias"] == own.state["net.2.bias"].tolist()
    first, second = (tmp_path / "weights_3dh.dat").read_text().splitlines()
    assert first == "126 81 4"
    bits = manifest["precision"]["weights"]
    expected = []
    for layer in ("net.0", "net.2"):
        rows, biases = own.state[f"{layer}.weight"], own.state[f"{layer}.bias"]
        for row, bias in zip(rows, biases, strict=True):
            expected += [c_round(float(w) * 2**bits) for w in (*row, bias)]
    assert [int(w) for w in second.split()] == expected
    assert 2**16 <= max(abs(w) for w in expected) < 2**17
    text = (tmp_path / "neurotrigger_3dh.conf").read_text()
    assert "\nnHidden = [81]\n" in text
    assert "\noutputScale = [-100,100,10,170,-1,1,-1,1]\n" in text


def test_3dh_halves_a_network_of_the_classic_activation(tmp_path: Path) -> None:
    own = hough3d_expert(27, "tanh/2")
    manifest = export(Source("here", {0: own}), "3dh", tmp_path)
    flat = json.loads((tmp_path / "weights_3dh.json").read_text())
    assert flat["model.0.bias"] == (own.state["net.0.bias"] / 2).tolist()
    assert manifest["experts"]["0"]["changes"] == [
        "weights times 0.5: tanh/2 became tanh"
    ]


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (source(), "one network, found experts 0, 1, 2, 3, 4"),
        (
            Source("s", {-1: expert(0, act="tanh")}),
            "nnt, stt, found 27 inputs",
        ),
        (Source("s", {-1: hough3d_expert(50)}), "27 or 126 inputs"),
        (Source("s", {-1: hough3d_expert(act="relu")}), "found relu"),
    ],
)
def test_3dh_refuses_other_networks(tmp_path: Path, own: Source, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        export(own, "3dh", tmp_path / "out")


def run_onnx(path: Path, **given_inputs: np.ndarray) -> list[np.ndarray]:
    outputs: list[np.ndarray] = onnxruntime.InferenceSession(str(path)).run(
        None, given_inputs
    )
    return outputs


def test_onnx_routes_rows_to_their_experts(
    tmp_path: Path, make_tracks: Callable[..., Tracks]
) -> None:
    tracks, own = make_tracks(300), source()
    manifest = export(own, "onnx", tmp_path)
    assert len(manifest["files"]) == 12
    nets = Networks(own.experts)
    (found,) = run_onnx(
        tmp_path / "experts.onnx", inputs=tracks.inputs, expert=tracks.expert
    )
    np.testing.assert_allclose(found, nets.predict(tracks), atol=1e-6)
    one = tracks[tracks.expert == 2]
    (alone,) = run_onnx(tmp_path / "expert_2.onnx", inputs=one.inputs)
    np.testing.assert_allclose(alone, nets.predict(one), atol=1e-6)


def test_onnx_integers_are_those_of_the_firmware(
    tmp_path: Path, make_tracks: Callable[..., Tracks]
) -> None:
    tracks, own = make_tracks(300), source(model="BaselineModelBN")
    tracks.inputs[:] = fixedpoint.snap_text_inputs(tracks.inputs)
    precision = (12, 8, 8, 10, 7, 9)
    export(own, "onnx", tmp_path, precision=precision)
    raw, scaled = run_onnx(
        tmp_path / "experts_fixed_point.onnx",
        inputs=tracks.inputs,
        expert=tracks.expert,
    )
    expected = FixedPointNetworks(Networks(own.experts), precision).predict(tracks)
    np.testing.assert_array_equal(scaled, expected)
    np.testing.assert_array_equal(raw, np.rint(expected * 1024).astype(np.int64))


@pytest.mark.parametrize("n_inputs", [27, 126])
@pytest.mark.parametrize("largest", [0.4, 1.2])
def test_onnx_holds_the_integers_of_the_3d_hough_chain(
    tmp_path: Path, n_inputs: int, largest: float
) -> None:
    own = hough3d_expert(n_inputs)
    scaled_up = {n: v * np.float32(largest / 0.4) for n, v in own.state.items()}
    own = dataclasses.replace(own, state=scaled_up, chain=HOUGH3D)
    export(Source("s", {-1: own}), "onnx", tmp_path)
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-2, 2, (200, n_inputs)).astype(np.float32)
    inputs[:50] = np.rint(inputs[:50] * 8192) / 8192
    raw, _ = run_onnx(tmp_path / "expert_-1_fixed_point.onnx", inputs=inputs)
    layers = firmware_network(-1, own).layers
    np.testing.assert_array_equal(raw, fixedpoint.hough3d(inputs, layers))


def test_networks_of_the_3d_hough_chain_go_to_their_own_target(tmp_path: Path) -> None:
    form = Form(outputs=OUTPUTS, activation="tanh")
    own = {
        k: ExpertWeights(
            initial_state(form, np.random.default_rng(k)), form, chain=HOUGH3D
        )
        for k in range(5)
    }
    with pytest.raises(ExportError, match=r"chain with 27 inputs; .* --to 3dh"):
        export(Source("s", own), "fpga", tmp_path / "a")
    assert export(Source("s", {0: own[0]}), "3dh", tmp_path / "b")["files"]


def test_onnx_integers_stay_in_their_word_on_demand(tmp_path: Path) -> None:
    own = expert(0)
    own.state["net.2.bias"][:] = 50, -50
    inputs = np.zeros((1, 27), np.float32)
    for saturate, largest in ((False, 4096), (True, 4095)):
        folder = tmp_path / str(saturate)
        export(Source("s", {0: own}), "onnx", folder, saturate_13_bit=saturate)
        raw, scaled = run_onnx(folder / "expert_0_fixed_point.onnx", inputs=inputs)
        np.testing.assert_array_equal(raw, [[largest, -4096]])
        np.testing.assert_array_equal(scaled, raw / 4096)


@pytest.mark.parametrize("act", [name for name in ACTIVATIONS if name != "tanh/2"])
def test_onnx_holds_any_model(tmp_path: Path, act: str) -> None:
    experts = {-1: expert(0, "SimpleModel", act), 3: expert(1, "SimpleModel", act)}
    manifest = export(Source("s", experts), "onnx", tmp_path)
    assert set(manifest["files"]) == {
        "expert_-1.onnx", "expert_3.onnx", "experts.onnx"
    }  # fmt: skip
    assert "not written: expert -1" in manifest["integer_graphs"]
    inputs = np.random.default_rng(0).uniform(-1, 1, (7, 27)).astype(np.float32)
    number = np.array([-1, 0, 1, 2, 3, 4, 3])
    (found,) = run_onnx(tmp_path / "experts.onnx", inputs=inputs, expert=number)
    expected = Networks(experts).predict_inputs(inputs, number)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_onnx_refuses_rows_of_an_expert_that_is_not_there(tmp_path: Path) -> None:
    export(Source("s", {0: expert(0), 1: expert(1)}), "onnx", tmp_path)
    with pytest.raises(Exception, match="GatherND"):
        run_onnx(
            tmp_path / "experts.onnx",
            inputs=np.zeros((1, 27), np.float32),
            expert=np.array([2]),
        )
