"""Every target holds what was trained, says so, and refuses the rest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from some_networks import expert, hough3d_expert, of_form, source

from nnt.cli import main
from nnt.errors import ExportError
from nnt.export import (
    TARGETS,
    Source,
    export,
    firmware_files,
    load_source,
    read_payload,
)
from nnt.export.settings import default_settings, parse_settings
from nnt.export.source import File, word_cuts, write_files
from nnt.networks import OUTPUTS, Form, Networks, read_weights, write_weights


def test_the_command_describes_every_target() -> None:
    shown = CliRunner().invoke(main, ["export", "--help"]).output
    for name, target in TARGETS.items():
        assert f"{name:7} {target.help}" in shown


def exported_as(target: str) -> Source:
    """What fits a target."""
    own = source()
    return replace(own, experts={-1: hough3d_expert()}) if target == "3dh" else own


OPTIONS: dict[str, Any] = {
    "precision": (12, 8, 8, 11, 9, 9),
    "settings": parse_settings(default_settings().text(), "given.conf"),
    "saturate_13_bit": True,
    "payload": read_payload((3, 5), None, None),
}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_the_manifest_tells_what_was_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, target: str
) -> None:
    manifest = export(exported_as(target), target, tmp_path / "out")
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
    holds_settings = target in ("basf2", "fpga")
    assert ("BASF2's defaults" in manifest.get("settings", "")) == holds_settings
    assert ("without --settings, the ID ranges" in caplog.text) == holds_settings


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_only_what_a_target_takes_can_be_chosen(tmp_path: Path, target: str) -> None:
    own, takes = exported_as(target), TARGETS[target].takes
    for option in OPTIONS.keys() - set(takes):
        with pytest.raises(ExportError, match=rf"^{target}: "):
            export(own, target, tmp_path / "out", **{option: OPTIONS[option]})
    taken = {option: OPTIONS[option] for option in takes}
    manifest = export(own, target, tmp_path / "out", **taken)
    if "precision" in takes:
        assert manifest["precision"] == [12, 8, 8, 11, 9, 9]
    assert manifest.get("settings", "given.conf") == "given.conf"


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


def damaged(folder: Path, files: Iterable[File], name: str) -> dict[str, Any]:
    """Write files, of which one does not come back as it is to be."""
    digit = r"(?<=\.)[0-8](?=\d)" if name.endswith("json") else r"\b[1-8]"
    changed = []
    for file in files:
        text = file.content.decode()
        if file.name == name:
            *_, last = re.finditer(digit, text)
            text = text[: last.start()] + str(int(last[0]) + 1) + text[last.end() :]
        changed.append(replace(file, content=text.encode()))
    return write_files(folder, changed)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("json", "weights.json"),
        ("basf2", "weights.json"),
        ("basf2", "neurotrigger.conf"),
        ("basf2", "payload.conf"),
        ("fpga", "weights.txt"),
        ("3dh", "weights_3dh.json"),
        ("3dh", "neurotrigger_3dh.conf"),
        ("3dh", "weights_3dh.dat"),
    ],
)
def test_a_file_that_comes_back_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, name: str
) -> None:
    monkeypatch.setattr(firmware_files, "write_files", partial(damaged, name=name))
    taken = {option: OPTIONS[option] for option in TARGETS[target].takes}
    with pytest.raises(ExportError, match=f"^{name}: .* differs when read back"):
        export(exported_as(target), target, tmp_path / "out", **taken)
    assert not (tmp_path / "out").exists()


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
            "z and theta, found z, theta, nnt; --outputs z,theta exports",
        ),
        (Form(outputs=("z", "stt")), "--outputs z exports"),
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
    manifest = export(
        load_source(str(path)).with_outputs(("theta", "z")), "basf2", tmp_path / "out"
    )
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
    whole = word_cuts({"nnt": {"96": cut}}, bits)["class_cuts"]["96"]["integer"]
    integers = np.arange(-8, 9) + round(cut * 2**bits)
    np.testing.assert_array_equal(integers > whole, integers / 2.0**bits > cut)
