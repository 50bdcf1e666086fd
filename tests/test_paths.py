"""One rule for every path that a person writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from nnt.cli import COMMANDS, main
from nnt.cli.common import UserPath, track_files
from nnt.config import load_config
from nnt.files import expand_path
from nnt.tracks import Tracks, read_tracks, write_tracks

WRITTEN = {
    "run period/my tracks.gz": "run period/my tracks.gz",
    "~/tracks.gz": "home/tracks.gz",
    "$PERIOD/tracks.gz": "run period/tracks.gz",
    "${PERIOD}/tracks.gz": "run period/tracks.gz",
    "~/$PERIOD/x.gz": "home/run period/x.gz",
    "it's (here).gz": "it's (here).gz",
    "cost $PERIOD.gz": "cost $PERIOD.gz",
    "#1, [2].gz": "#1, [2].gz",
}
"""What is written, and the file that is meant."""


@pytest.fixture
def at_home(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(workplace / "home"))
    monkeypatch.setenv("PERIOD", "run period")
    return workplace


def by_configuration(written: str) -> list[str]:
    data = {"files": [written], "split": [0.6, 0.2, 0.2]}
    Path("mine.yaml").write_text(json.dumps({"data": data}))
    files = load_config("mine.yaml").data.files
    assert isinstance(files, tuple)
    return list(files)


def by_override(written: str) -> list[str]:
    data = {"files": {"train": [written], "val": ["v"], "test": ["t"]}}
    files = load_config({}, {"data": data}).data.files
    assert isinstance(files, dict)
    return list(files["train"])


def by_option(written: str) -> list[str]:
    return track_files([written])


def by_argument(written: str) -> list[str]:
    return [str(UserPath(path_type=Path).convert(written, None, None))]


WAYS = [by_configuration, by_override, by_option, by_argument]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize(("written", "meant"), WRITTEN.items())
def test_every_way_of_naming_a_file(
    at_home: Path,
    make_tracks: Callable[..., Tracks],
    way: Callable[[str], list[str]],
    written: str,
    meant: str,
) -> None:
    path = at_home / meant
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tracks(make_tracks(5), path)
    (found,) = way(written)
    assert Path(found).resolve() == path
    assert len(read_tracks(written)) == 5


def test_what_cannot_be_expanded_stays() -> None:
    for path in ("~nobody-of-that-name/x", "$NOT_SET_ANYWHERE/x", "a\0b", "x" * 5000):
        assert expand_path(path) == path


def test_several_files_in_one_text(at_home: Path) -> None:
    for name in ("a.gz", "b c.gz"):
        (at_home / name).touch()
    assert track_files(["a.gz 'b c.gz'"]) == ["a.gz", "b c.gz"]
    assert track_files(["a.gz", "b c.gz", "none", ""]) == ["a.gz", "b c.gz"]
    assert track_files(["a.gz missing.gz"]) == ["a.gz missing.gz"]
    assert track_files(["it's a.gz"]) == ["it's a.gz"]


def commands(group: click.Command, name: str) -> list[tuple[str, click.Command]]:
    if not isinstance(group, click.Group):
        return [(name, group)]
    context = click.Context(group)
    found = []
    for child in group.list_commands(context):
        command = group.get_command(context, child)
        assert command is not None
        found += commands(command, f"{name} {child}")
    return found


def test_no_path_is_empty() -> None:
    with pytest.raises(click.BadParameter, match="got nothing"):
        UserPath(path_type=Path).convert("", None, None)


def test_no_command_has_a_path_of_another_kind() -> None:
    known = commands(main, "nnt")
    assert len(known) >= len(COMMANDS)
    for name, command in known:
        for parameter in command.params:
            if isinstance(parameter.type, click.Path):
                assert isinstance(parameter.type, UserPath), (name, parameter.name)
