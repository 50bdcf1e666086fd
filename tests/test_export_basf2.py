"""Files of the classic chain, in the form that BASF2 reads, and ``payload.conf``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from some_networks import GIVEN, c_round, source

from nnt.cli import main
from nnt.detector import EXPERT_MISSING_SUPERLAYER
from nnt.errors import ExportError, NNTError
from nnt.export import Settings, Source, export, read_payload, read_settings
from nnt.export.payload import parse_payload
from nnt.export.settings import parse_settings
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


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ({}, "[]"),
        ({"model": "BaselineModelBN"}, "batch normalisation"),
        ({"act": "tanh"}, "weights times 2"),
    ],
)
def test_json_holds_networks_in_the_form_of_the_firmware(
    tmp_path: Path, kind: dict[str, str], told: str
) -> None:
    own = source(**kind)
    manifest = export(own, "json", tmp_path)
    again = read_weights(tmp_path / "weights.json")
    assert {k: held.form for k, held in again.items()} == dict.fromkeys(
        range(5), Form()
    )
    assert told in str(manifest["experts"]["3"]["changes"])
    check = manifest["checks"]["weights.json"]
    assert check["largest_output_difference_scaled"] < 1e-5
    if not kind:
        for k, weights in own.experts.items():
            for name, value in weights.state.items():
                np.testing.assert_array_equal(again[k].state[name], value)


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


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        (
            source(),
            "",
            """IDRanges = [[0,-1.5,1.5,-7.5,-0.5,-1.5,1.5,0.5,7.5,-1.5,1.5,-8.5,0.5,
            outputScale = [[-100,100,10,170]]
            SLpattern = [511,383,479,503,509]
            precision = [12,8,8,12,10,10]""",
        ),
        (source(out_size=1), "", "targetTheta = 0\noutputScale = [[-100,100]]"),
        (
            source(),
            GIVEN,
            """IDRanges == [[0,-1,1,-10,1,-1,1,-1,10,
            SLpattern == [511,383,479,503,509]
            tMax = 250
            outputScale = [[-50,50,0,180]]
            ETOption = 6
            AdditionWireMode = 2
            nHidden = [[81]]""",
        ),
    ],
)
def test_settings_of_network_and_data_go_into_the_files(
    tmp_path: Path, own: Source, given: str, expected: str
) -> None:
    (tmp_path / "given.conf").write_text(given)
    settings = read_settings(tmp_path / "given.conf")
    export(own, "basf2", tmp_path / "a", settings=settings)
    text = (tmp_path / "a" / "neurotrigger.conf").read_text()
    for line in expected.splitlines():
        assert f"\n{line.strip()}" in text
    keys = [line.split(" =")[0] for line in text.splitlines() if line[0] != "#"]
    assert len(keys) == len(set(keys)) == (25 if given else 24)
    export(own, "fpga", tmp_path / "b", settings=settings)
    limits = (tmp_path / "b" / "weights.txt").read_text().splitlines()[6]
    assert limits.startswith("-1 1 -10 1 " if given else "-1.5 1.5 -7.5 -0.5 ")


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


EARLIER = """\
fwname = "neuro v7"
fwnote = "five experts"
nnname = "an older network"
addb2formatline = ("ETF", 0, 22, 0, "")
 addb2formatline = ("TSF8", 23, 43, 0, "first")
"""


def test_the_file_has_validity_names_and_the_firmware_of_an_earlier_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "earlier.conf").write_text(EARLIER)
    payload = read_payload((35, 12), (36, -1), tmp_path / "earlier.conf")
    manifest = export(source(), "basf2", tmp_path / "out", payload=payload)
    lines = (tmp_path / "out" / "payload.conf").read_text().splitlines()
    values = parse_payload(lines)
    assert values | {"nnnote": ""} == {
        "nniov_exp_start": "35", "nniov_run_start": "12",
        "nniov_exp_end": "36", "nniov_run_end": "-1",
        "nnname": "weights 00000000", "nnpath": "networks.root", "nnnote": "",
        "fwname": "neuro v7", "fwnote": "five experts",
        "ppbool": "true", "ppnote": "event time: ETOption 7",
    }  # fmt: skip
    assert values["nnnote"] == f"run_id {'0' * 32}"
    assert lines[-2:] == [line.strip() for line in EARLIER.splitlines()[-2:]]
    assert manifest["validity"] == {"first": [35, 12], "last": [36, -1]}
    assert "payload.conf" in manifest["files"]


@pytest.mark.parametrize(
    ("first", "last"),
    [((-1, 0), None), ((3, 5), (2, 9)), ((3, 5), (3, 4)), ((3, 5), (-1, 7))],
)
def test_an_interval_has_a_beginning_before_its_end(
    first: tuple[int, int], last: tuple[int, int] | None
) -> None:
    with pytest.raises(ExportError, match="validity: "):
        read_payload(first, last, None)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (
            ["--to", "fpga", "--valid-from", "3", "0"],
            1,
            "fpga: has no range of validity",
        ),
        (["--to", "basf2", "--valid-to", "3", "0"], 2, "need --valid-from"),
        (
            ["--to", "basf2", "--valid-from", "3", "0", "--firmware", "weights.json"],
            1,
            "expected lines of fwname, fwnote or addb2formatline, found none",
        ),
    ],
)
def test_what_makes_no_payload_is_refused(
    workplace: Path, words: list[str], status: int, message: str
) -> None:
    export(source(), "json", workplace)
    done = CliRunner().invoke(main, ["export", "weights.json", "-o", "out", *words])
    assert (done.exit_code, message in done.stderr) == (status, True), done.stderr
    assert not Path("out").exists()
