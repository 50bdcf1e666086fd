"""Files of the classic chain, in the form that BASF2 reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from some_networks import GIVEN, c_round, source

from nnt.detector import EXPERT_MISSING_SUPERLAYER
from nnt.errors import NNTError
from nnt.export import Settings, export, read_settings
from nnt.export.settings import default_settings, parse_settings
from nnt.networks import Form, read_weights


def flat_of_json(path: Path, k: int) -> list[float]:
    """Rows, each followed by its bias: what BASF2's converter makes of the file."""
    weights = json.loads(path.read_text())[f"expert_{k}"]["weights"]
    flat: list[float] = []
    for layer in ("model.net.0", "model.net.2"):
        rows, biases = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
        for row, bias in zip(rows, biases, strict=True):
            flat += [*row, bias]
    return flat


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
    assert parse_settings(own.text(), own.place) == own


numbers = st.floats(-1e6, 1e6)


@given(st.lists(st.lists(numbers, min_size=1), min_size=1), st.booleans())
def test_any_value_comes_back(rows: list[list[float]], locked: bool) -> None:
    value = tuple(tuple(row) for row in rows)
    own = Settings({"key": value}, frozenset({"key"} if locked else ()))
    assert parse_settings(own.text(), own.place) == own


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tMax = [1]", "tMax: expected one number"),
        ("SLpattern = 5", r"SLpattern: expected a list \[a, b\]"),
        ("tMax = many", "expected a number, found 'many'"),
        ("tMax == 256\ntMax = 255", "was locked"),
        ("maxHitsPerSL = [2]", "one track segment"),
        ("nMLP = 3", "nMLP: expected 5, the number of experts, found 3"),
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
    with pytest.raises(NNTError, match=reason):
        export(
            source(), "basf2", tmp_path / "out",
            settings=read_settings(tmp_path / "given.conf"),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()
