"""``nnt data``, as a person types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from nnt.cli import main
from nnt.tracks import Tracks, read_tracks, summarise, write_tracks

MakeTracks = Callable[..., Tracks]


def nnt(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def file(make_tracks: MakeTracks, tmp_path: Path) -> Path:
    path = tmp_path / "tracks.gz"
    write_tracks(make_tracks(900), path)
    return path


def test_summary_against_plain_counts(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(400)
    summary = summarise(tracks)
    experts = tracks.expert.tolist()
    assert summary.rows == 400
    assert summary.events == len({(i["Run"], i["Event"]) for i in tracks.ids})
    assert summary.rows_per_expert == {k: experts.count(k) for k in range(5)}
    assert summary.missing_superlayer_share[7] == experts.count(1) / 400
    assert summary.missing_superlayer_share[0] == 0
    z_cm = [100 * float(z) for z in tracks.targets[:, 0]]
    assert summary.z_cm.mean == pytest.approx(sum(z_cm) / 400)
    assert (summary.z_cm.minimum, summary.z_cm.maximum) == pytest.approx(
        (min(z_cm), max(z_cm))
    )
    assert summary.pt_gev is None
    assert summary.has_reference


def test_describe(file: Path) -> None:
    done = nnt("data", "describe", file, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["rows"] == 900
    assert found["rows_per_expert"].keys() == set("01234")
    table = nnt("data", "describe", file)
    assert table.exit_code == 0
    assert "900" in table.stdout
    assert "expert 4" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["describe", "none.gz"], 1, "none.gz: cannot be read"),
        (["split", "a", "--to", "b", "--shares", 0.6, 0.6, 0.2], 2, "more than 1"),
    ],
)
def test_a_mistake_is_told(arguments: list[object], status: int, message: str) -> None:
    done = nnt("data", *arguments)
    assert done.exit_code == status
    assert message in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(("flags", "first"), [((), 1), (("--basf2",), 0)])
def test_split(file: Path, tmp_path: Path, flags: tuple[str, ...], first: int) -> None:
    folder = tmp_path / "a" / "parts"
    done = nnt("data", "split", file, "--to", folder, "--json", *flags)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert [Path(name).name for name in rows] == [
        f"random{i}.gz" for i in range(first, 4)
    ]
    assert sum(rows.values()) == 900
    for name, n_rows in rows.items():
        assert len(read_tracks(name)) == n_rows


def test_split_does_not_replace_files_unasked(file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    split = "data", "split", file, "--to", folder
    assert nnt(*split).exit_code == 0
    before = (folder / "random1.gz").read_bytes()
    again = nnt(*split, "--seed", 2)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    assert (folder / "random1.gz").read_bytes() == before
    assert nnt(*split, "--seed", 2, "--overwrite").exit_code == 0
    assert (folder / "random1.gz").read_bytes() != before


def test_simulate_writes_all_tracks_in_three_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        done = nnt("data", "simulate", tmp_path / name, "--tracks", 300, "--seed", 7)
        assert done.exit_code == 0, done.output
    files = [tmp_path / "a" / f"random{i}.gz" for i in (1, 2, 3)]
    parts = [read_tracks(path) for path in files]
    assert sum(map(len, parts)) == 300
    sets = [set(np.unique(part.ids["Event"]).tolist()) for part in parts]
    assert sum(map(len, sets)) == len(set.union(*sets))
    for path in files:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_table_can_be_described_against_itself(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for options in ((), ("--json",)):
        done = nnt("data", "describe", file, "--against", file, *options)
        assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["against"]["changes"]
    monkeypatch.chdir(file.parent)
    done = nnt("data", "describe", file.name, "--against", file.name)
    assert "No change" in done.stdout


def test_an_input_is_never_an_output(file: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    assert nnt("data", "split", file, "--to", parts).exit_code == 0
    source = parts / "random2.gz"
    (tmp_path / "names").mkdir()
    (tmp_path / "names" / "link.gz").symlink_to(source)
    (tmp_path / "names" / "hard.gz").hardlink_to(source)
    (tmp_path / "away").symlink_to(parts)
    before = source.read_bytes()
    names = ("names/link.gz", "names/hard.gz", "away/random2.gz")
    for given in (
        source,
        parts / "../parts/random2.gz",
        *map(tmp_path.joinpath, names),
    ):
        done = nnt("data", "split", given, "--to", parts, "--overwrite")
        assert "is also an input" in done.output
        assert done.exit_code == 1
    assert source.read_bytes() == before


@pytest.mark.parametrize("command", ["split", "simulate"])
def test_a_folder_that_takes_no_files_is_found_before_any_work(
    command: str, file: Path
) -> None:
    folder = Path("/proc/self")  # nobody may write there, not even root
    given = {
        "split": ["split", file, "--to", folder],
        "simulate": ["simulate", folder, "--tracks", 10**9],
    }
    done = nnt("data", *given[command])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert f"{folder}/random1.gz: cannot be written" in done.output


@pytest.mark.parametrize("name", ["random1.gz", "random3.gz"])
def test_parts_can_go_to_pipes_and_links(name: str, file: Path, tmp_path: Path) -> None:
    assert nnt("data", "split", file, "--to", tmp_path / "plain").exit_code == 0
    parts, other = tmp_path / "parts", "random2.gz"
    parts.mkdir()
    (parts / name).symlink_to("/dev/null")
    assert nnt("data", "split", file, "--to", parts).exit_code == 0
    assert (parts / name).is_char_device()
    assert (parts / other).read_bytes() == (tmp_path / "plain" / other).read_bytes()
