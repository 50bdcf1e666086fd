"""``nnt data``: describe, simulate and split track files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nnt.cli.common import (
    Group,
    Shown,
    UserPath,
    files_argument,
    flag,
    overwrite_option,
    print_table,
    reports,
)
from nnt.errors import DataError
from nnt.files import make_folder
from nnt.progress import show_progress

if TYPE_CHECKING:
    from nnt.metrics import Change, Profile
    from nnt.tracks import Summary, Tracks

MAX_CHANGES = 30
"""Lines of the table; ``--json`` has all."""


def _check_shares(
    _: click.Context, __: click.Parameter, shares: tuple[float, float, float]
) -> tuple[float, float, float]:
    if sum(shares) > 1 + 1e-9:
        raise click.BadParameter(f"they add up to {sum(shares):g}, more than 1")
    return shares


shares_option = click.option(
    "--shares", nargs=3, type=click.FloatRange(0, 1), default=(0.6, 0.2, 0.2),
    show_default=True, callback=_check_shares,
    help="Shares of the events for training, validation and test.",
)  # fmt: skip
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True
)


@click.group(name="data", cls=Group)
def command() -> None:
    """Describe, simulate and split track files."""


@command.command()
@files_argument
@click.option(
    "--to", "folder", required=True, type=UserPath(path_type=Path),
    help="Folder for random1.gz (training), random2.gz (validation), random3.gz (test)."
)  # fmt: skip
@flag(
    "--basf2",
    help="Split by BASF2's rule instead of --shares: every hundredth event goes to "
    "random0.gz, the others to the three files in turn.",
)
@shares_option
@seed_option
@overwrite_option
@reports
def split(
    files: tuple[Path, ...],
    folder: Path,
    basf2: bool,
    shares: tuple[float, float, float],
    seed: int,
    overwrite: bool,
) -> Shown:
    """Split track files by event; no event is in two parts.

    \b
    Example:
      nnt data split tracks.gz --to parts --shares 0.6 0.2 0.2
    """
    from nnt.tracks import split_by_event, split_like_basf2, write_tracks

    targets = _targets(folder, range(0 if basf2 else 1, 4), overwrite, files)
    tracks = _read(files)
    parts = split_like_basf2(tracks) if basf2 else split_by_event(tracks, shares, seed)
    for part, path in zip(parts, targets, strict=True):
        if not len(part):
            raise DataError(f"{path}: no events are left for this file; give more data")
    for part, path in zip(parts, targets, strict=True):
        with show_progress(f"Writing {path.name}", "rows") as progress:
            write_tracks(part, path, as_read=True, progress=progress)
    return _written([len(part) for part in parts], targets)


@command.command()
@click.argument("folder", metavar="OUT_DIR", type=UserPath(path_type=Path))
@click.option("--tracks", "n_tracks", required=True, type=click.IntRange(min=3))
@shares_option
@seed_option
@click.option(
    "--chain", type=click.Choice(["classic", "3dh"]), default="classic",
    show_default=True, help="Classic, or 3dh for the 3D Hough chain.",
)  # fmt: skip
@click.option(
    "--inputs", type=click.Choice(["27", "126"]), default="27", show_default=True,
    help="Inputs per track; 126, with hit patterns, needs --chain 3dh.",
)  # fmt: skip
@overwrite_option
@reports
def simulate(
    folder: Path,
    n_tracks: int,
    shares: tuple[float, float, float],
    seed: int,
    chain: str,
    inputs: str,
    overwrite: bool,
) -> Shown:
    """Make tracks from the detector's geometry: random1.gz, random2.gz, random3.gz.

    \b
    Example:
      nnt data simulate tracks --tracks 100000 --seed 1
      nnt data simulate tracks --tracks 100000 --seed 1 --chain 3dh --inputs 126
    """
    from nnt.simulation import check_choice
    from nnt.simulation import simulate as make
    from nnt.tracks import write_shares

    check_choice(chain, int(inputs))
    targets = _targets(folder, range(1, 4), overwrite)
    with show_progress("Simulating", "tracks") as progress:
        tracks = make(
            n_tracks, seed=seed, progress=progress, chain=chain, inputs=int(inputs)
        )
    with show_progress("Writing", "rows") as progress:
        rows = write_shares(tracks, targets, shares, progress=progress)
    return _written(rows, targets)


def _read(files: Sequence[Path]) -> Tracks:
    from nnt.tracks import read_tracks

    with show_progress("Reading", "bytes") as progress:
        return read_tracks(files, progress=progress)


def _targets(
    folder: Path, numbers: range, overwrite: bool, sources: Sequence[Path] = ()
) -> list[Path]:
    """Make the folder and name its files, before any long work."""
    from nnt.tracks import check_outputs

    targets = [folder / f"random{i}.gz" for i in numbers]
    make_folder(folder)
    check_outputs(targets, sources, overwrite=overwrite)
    return targets


def _written(rows: Sequence[int], targets: Sequence[Path]) -> Shown:
    counts = {str(path): n for path, n in zip(targets, rows, strict=True)}
    table = list(counts.items())
    return Shown(
        {"rows": counts}, lambda: print_table("Written", ["file", "rows"], table)
    )


@command.command()
@files_argument
@click.option(
    "--against", multiple=True, type=UserPath(path_type=Path), metavar="FILE",
    help="Report what changed from FILES to this file. May be given several times.",
)  # fmt: skip
@click.option(
    "--plots", "folder", type=UserPath(path_type=Path), metavar="DIR",
    help="Write plots of inputs, z, theta and momentum to this folder, for all rows "
    "and for each expert or track type.",
)  # fmt: skip
@reports
def describe(
    files: tuple[Path, ...], against: tuple[Path, ...], folder: Path | None
) -> Shown:
    """Tell what track files hold, and what changed from them to others.

    \b
    Examples:
      nnt data describe neuroresults_random1.gz
      nnt data describe period42.gz --against period43.gz --plots plots
    """
    from nnt.metrics import changes, profiles
    from nnt.tracks import summarise

    tables = {_name(files): _read(files)}
    if against:
        tables[_name(against, tables)] = _read(against)
    found = {name: summarise(table) for name, table in tables.items()}
    first, *others = [
        {"files": list(map(str, named)), **summary.to_dict()}
        for named, summary in zip((files, against), found.values(), strict=False)
    ]
    counted: dict[str, dict[str, Profile]] = {}
    if against or folder is not None:
        counted = {name: profiles(table) for name, table in tables.items()}
    changed = changes(*counted.values()) if against else []
    for other in others:
        first["against"] = {**other, "changes": [c.to_dict() for c in changed]}
    if folder is not None:
        first["plots"] = [str(path) for path in _draw(folder, counted, changed)]

    def show() -> None:
        _show(found)
        if against:
            _show_changes(changed)
        if folder is not None:
            click.echo(f"{len(first['plots'])} plots written to {folder}")

    return Shown(first, show)


def _name(files: Sequence[Path], others: Mapping[str, object] | None = None) -> str:
    name = files[0].name + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    if not others or name not in others:
        return name
    # Files of two periods may have the same name in two folders, or be the same.
    name = str(files[0])
    return name if name not in others else f"{name} (again)"


def _draw(
    folder: Path, counted: Mapping[str, Mapping[str, Profile]], found: Sequence[Change]
) -> list[Path]:
    from nnt import plots

    drawings, written = plots.drawings_of_profiles(counted, found), []
    make_folder(folder)
    with (
        show_progress("Drawing", "plots") as progress,
        plots.Studio[str](len(drawings)) as studio,
    ):
        for drawing in drawings:
            studio.add(drawing.name, drawing)
        for name, picture in studio.drawn():
            written.append(folder / f"{name}.png")
            written[-1].write_bytes(picture)
            progress(len(written), len(drawings))
    return written


def _show(summaries: Mapping[str, Summary]) -> None:
    columns = [_counts(summary) for summary in summaries.values()]
    heads = ["found"] if len(columns) == 1 else list(summaries)
    rows = [
        [name, *(counts.get(name, "–") for counts in columns)] for name in columns[0]
    ]
    print_table("Tracks", ["", *heads], rows)
    rows = []
    for name, summary in summaries.items():
        spreads = [("z (cm)", summary.z_cm), ("theta (deg)", summary.theta_deg)]
        if summary.pt_gev is not None:
            spreads.append(("pt (GeV)", summary.pt_gev))
        end = "" if len(columns) == 1 else f", {name}"
        rows += [
            [quantity + end, *(f"{value:.2f}" for value in astuple(spread))]
            for quantity, spread in spreads
        ]
    print_table("Targets", ["", "mean", "std", "min", "median", "max"], rows)


def _counts(summary: Summary) -> dict[str, str]:
    from nnt.detector import N_INPUTS

    counts = {"rows": f"{summary.rows:,}", "events": f"{summary.events:,}"}
    counts |= {f"expert {k}": f"{n:,}" for k, n in summary.rows_per_expert.items()}
    for name, n in summary.rows_per_type.items():
        counts[f"type {name.replace('_', ' ')}"] = f"{n:,}"
    for name, n in summary.rows_per_class.items():
        counts[f"class {name.upper()}"] = f"{n:,}"
    if summary.rows_per_class:
        counts["classes against z"] = f"{summary.class_conflicts:,}"
    if summary.inputs > N_INPUTS:
        counts["without a hit pattern"] = f"{summary.empty_patterns:,}"
    for i, share in enumerate(summary.missing_superlayer_share):
        counts[f"without SL{i}"] = f"{share:.1%}"
    counts["reference network"] = "absent"
    if summary.reference_z_std_cm is not None:
        z_std_cm = summary.reference_z_std_cm
        counts["reference network"] = f"present, z residual std {z_std_cm:.2f} cm"
    return counts


def _show_changes(found: Sequence[Change]) -> None:
    flagged = [change for change in found if change.flagged]
    if not flagged:
        click.echo(f"No change: none of {len(found)} quantities differs significantly.")
        return
    rows = [
        [
            change.quantity,
            change.scope.replace("_", " "),
            f"{change.distance:.3f}",
            f"{change.p_value:.1g}",
            f"{change.first:.4g}",
            f"{change.second:.4g}",
        ]
        for change in flagged[:MAX_CHANGES]
    ]
    print_table(
        f"What changed: {len(flagged)} of {len(found)} quantities",
        ["", "rows of", "distance", "p-value", "mean, first", "mean, second"],
        rows,
    )
    if len(flagged) > MAX_CHANGES:
        click.echo(f"… and {len(flagged) - MAX_CHANGES} more; --json lists all")
