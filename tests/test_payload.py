"""``payload.conf``, with which BASF2 writes networks into its database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from some_networks import source

from nnt.cli import main
from nnt.errors import ExportError
from nnt.export import export, read_payload
from nnt.export.payload import parse_payload

EARLIER = """\
fwname = "neuro v7"
fwnote = "five experts"
nnname = "an older network"
addb2formatline = ("ETF", 0, 22, 0, "")
 addb2formatline = ("TSF8", 23, 43, 0, "first")
"""


def written(folder: Path) -> tuple[dict[str, str], list[str]]:
    lines = (folder / "payload.conf").read_text().splitlines()
    return parse_payload(lines), [line for line in lines if line[:3] == "add"]


def test_the_file_has_validity_names_and_the_firmware_of_an_earlier_one(
    tmp_path: Path,
) -> None:
    (tmp_path / "earlier.conf").write_text(EARLIER)
    payload = read_payload((35, 12), (36, -1), tmp_path / "earlier.conf")
    manifest = export(source(), "basf2", tmp_path / "out", payload=payload)
    values, bit_fields = written(tmp_path / "out")
    assert values | {"nnnote": ""} == {
        "nniov_exp_start": "35", "nniov_run_start": "12",
        "nniov_exp_end": "36", "nniov_run_end": "-1",
        "nnname": "weights 00000000", "nnpath": "networks.root", "nnnote": "",
        "fwname": "neuro v7", "fwnote": "five experts",
        "ppbool": "true", "ppnote": "event time: ETOption 7",
    }  # fmt: skip
    assert values["nnnote"] == f"run_id {'0' * 32}"
    assert bit_fields == [
        'addb2formatline = ("ETF", 0, 22, 0, "")',
        'addb2formatline = ("TSF8", 23, 43, 0, "first")',
    ]
    assert manifest["validity"] == {"first": [35, 12], "last": [36, -1]}
    assert "payload.conf" in manifest["files"]
    kept = json.loads((tmp_path / "out" / "MANIFEST.json").read_text())
    assert kept["files"].keys() == manifest["files"].keys()


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
