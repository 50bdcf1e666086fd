"""``nnt data``: describe, simulate and split track files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnt.cli.common import Group, UserPath, emit, json_option, print_table, tell_errors
from nnt.cli.describe import command as describe

if TYPE_CHECKING:
    from nnt.tracks import Tracks

__all__ = ["command"]


def _check_shares(
    _: click.Context, __: click.Parameter, shares: tuple[float, float, float]
) -> tuple[float, float, float]:
    if sum(shares) > 1 + 1e-9:
        raise click.BadParameter(f"they add up to {sum(shares):g}, more than 1")
    return shares


files_argument = click.argument(
    "files", nargs=-1, required=True, type=UserPath(path_type=Path)
)
shares_option = click.option(
    "--shares", nargs=3, type=click.FloatRange(0, 1), default=(0.6, 0.2, 0.2),
    show_default=True, callback=_check_shares,
    help="Shares of the events for training, validation and test.",
)  # fmt: skip
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace files that are there already."
)


@click.group(name="data", cls=Group)
def command() -> None:
    """Describe, simulate and split track files."""


command.add_command(describe)


@command.command()
@files_argument
@click.option(
    "--to", "folder", required=True, type=UserPath(path_type=Path),
    help="Folder for random1.gz (training), random2.gz (validation), random3.gz (test)."
)  # fmt: skip
@click.option(
    "--basf2", is_flag=True,
    help="By BASF2's rule in place of --shares: every hundredth event to random0.gz, "
    "the others to the three in turn.",
)  # fmt: skip
@shares_option
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@overwrite_option
@json_option
@tell_errors
def split(
    files: tuple[Path, ...],
    folder: Path,
    basf2: bool,
    shares: tuple[float, float, float],
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Share the events of track files out; no event is in two parts.

    \b
    Example:
      nnt data split tracks.gz --to parts --shares 0.6 0.2 0.2
    """
    from nnt.tracks import split_by_event, split_like_basf2

    first = 0 if basf2 else 1
    targets = _targets(folder, range(first, 4), overwrite, files)
    tracks = _read(files)
    parts = split_like_basf2(tracks) if basf2 else split_by_event(tracks, shares, seed)
    _write(parts, targets, as_json)


@command.command()
@click.argument("folder", metavar="OUT_DIR", type=UserPath(path_type=Path))
@click.option("--tracks", "n_tracks", required=True, type=click.IntRange(min=3))
@shares_option
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@overwrite_option
@json_option
@tell_errors
def simulate(
    folder: Path,
    n_tracks: int,
    shares: tuple[float, float, float],
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Make tracks from the detector's geometry: random1.gz, random2.gz, random3.gz.

    \b
    Example:
      nnt data simulate tracks --tracks 100000 --seed 1
    """
    from nnt.progress import show_progress
    from nnt.simulation import simulate as make
    from nnt.tracks import write_shares

    targets = _targets(folder, range(1, 4), overwrite)
    with show_progress("Simulating", "tracks") as progress:
        tracks = make(tracks=n_tracks, seed=seed, progress=progress)
    with show_progress("Writing", "rows") as progress:
        rows = write_shares(tracks, targets, shares, progress=progress)
    _tell_rows(rows, targets, as_json)


def _read(files: Sequence[Path]) -> Tracks:
    from nnt.progress import show_progress
    from nnt.tracks import read_tracks

    with show_progress("Reading", "bytes") as progress:
        return read_tracks(files, progress=progress)


def _targets(
    folder: Path, numbers: range, overwrite: bool, sources: Sequence[Path] = ()
) -> list[Path]:
    """Make the folder and name its files, before any long work."""
    from nnt.errors import DataError
    from nnt.tracks import check_outputs

    targets = [folder / f"random{i}.gz" for i in numbers]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise DataError(f"{folder}: cannot be made a folder ({err.strerror})") from err
    check_outputs(targets, sources, overwrite=overwrite)
    return targets


def _write(parts: Sequence[Tracks], targets: Sequence[Path], as_json: bool) -> None:
    from nnt.errors import DataError
    from nnt.progress import show_progress
    from nnt.tracks import write_tracks

    for part, path in zip(parts, targets, strict=True):
        if not len(part):
            raise DataError(f"{path}: no event is left for it; give more data")
    for part, path in zip(parts, targets, strict=True):
        with show_progress(f"Writing {path.name}", "rows") as progress:
            write_tracks(part, path, progress=progress)
    _tell_rows([len(part) for part in parts], targets, as_json)


def _tell_rows(rows: Sequence[int], targets: Sequence[Path], as_json: bool) -> None:
    told = {str(path): n for path, n in zip(targets, rows, strict=True)}
    if as_json:
        emit({"rows": told})
    else:
        print_table("Written", ["file", "rows"], list(told.items()))
