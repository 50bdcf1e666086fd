"""``nnt data describe``: what track files hold, and what changed between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import UserPath, emit, json_option, print_table, tell_errors

if TYPE_CHECKING:
    from nnt.metrics import Change, Profile
    from nnt.tracks import Spread, Summary, Tracks

__all__ = ["command"]

MAX_CHANGES = 30
"""Lines of the table; ``--json`` has all."""


@click.command("describe")
@click.argument("files", nargs=-1, required=True, type=UserPath(path_type=Path))
@click.option(
    "--against", multiple=True, type=UserPath(path_type=Path), metavar="FILE",
    help="Tell what changed from FILES to this one. May be given several times.",
)  # fmt: skip
@click.option(
    "--plots", "folder", type=UserPath(path_type=Path), metavar="DIR",
    help="Draw inputs, z, theta and momentum, of all experts and of each.",
)  # fmt: skip
@json_option
@tell_errors
def command(
    files: tuple[Path, ...], against: tuple[Path, ...], folder: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
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
    summaries = [summarise(table) for table in tables.values()]
    told: dict[str, Any] = {"files": [str(f) for f in files], **summaries[0].to_dict()}
    found: list[Change] = []
    counted: dict[str, dict[str, Profile]] = {}
    if against or folder is not None:
        counted = {name: profiles(table) for name, table in tables.items()}
    if against:
        found = changes(*counted.values())
        told["against"] = {
            "files": [str(f) for f in against],
            **summaries[1].to_dict(),
            "changes": [change.to_dict() for change in found],
        }
    if folder is not None:
        told["plots"] = [str(path) for path in _draw(folder, counted, found)]
    if as_json:
        emit(told)
        return
    _show(dict(zip(tables, summaries, strict=True)))
    if against:
        _show_changes(found)
    if folder is not None:
        click.echo(f"{len(told['plots'])} plots written to {folder}")


def _name(files: Sequence[Path], others: Mapping[str, object] | None = None) -> str:
    name = files[0].name + (f" and {len(files) - 1} more" if len(files) > 1 else "")
    if not others or name not in others:
        return name
    # Files of two periods may have the same name in two folders, or be the same.
    name = str(files[0])
    return name if name not in others else f"{name} (again)"


def _read(files: Sequence[Path]) -> Tracks:
    from nnt.progress import show_progress
    from nnt.tracks import read_tracks

    with show_progress("Reading", "bytes") as progress:
        return read_tracks(files, progress=progress)


def _draw(
    folder: Path, counted: Mapping[str, Mapping[str, Profile]], found: Sequence[Change]
) -> list[Path]:
    from nnt import plots
    from nnt.errors import DataError
    from nnt.progress import show_progress

    first = next(iter(counted.values()))
    scopes = [s for s in first if all(s in table for table in counted.values())]
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with show_progress("Drawing", "experts") as progress:
            for i, scope in enumerate(scopes, start=1):
                shown = {name: table[scope] for name, table in counted.items()}
                marked = [c.quantity for c in found if c.flagged and c.scope == scope]
                title = "inputs, " + (
                    "all experts" if scope == "all" else scope.replace("_", " ")
                )
                drawn = {"inputs": plots.input_histograms(shown, title, marked)}
                drawn |= plots.target_histograms(shown)
                for name, figure in drawn.items():
                    path = folder / f"{name}_{scope}.png"
                    path.write_bytes(plots.png(figure))
                    written.append(path)
                progress(i, len(scopes))
    except OSError as err:
        raise DataError(
            f"{folder}: plots cannot be written ({err.strerror}); choose another folder"
        ) from err
    return written


def _show(summaries: Mapping[str, Summary]) -> None:
    columns = [_counts(summary) for summary in summaries.values()]
    heads = ["found"] if len(columns) == 1 else list(summaries)
    rows = [[name, *(told.get(name, "–") for told in columns)] for name in columns[0]]
    print_table("Tracks", ["", *heads], rows)
    rows = []
    for name, summary in summaries.items():
        spreads = [("z (cm)", summary.z_cm), ("theta (deg)", summary.theta_deg)]
        if summary.pt_gev is not None:
            spreads.append(("pt (GeV)", summary.pt_gev))
        end = "" if len(columns) == 1 else f", {name}"
        rows += [[quantity + end, *_cells(spread)] for quantity, spread in spreads]
    print_table("Targets", ["", "mean", "std", "min", "median", "max"], rows)


def _counts(summary: Summary) -> dict[str, str]:
    counts = {"rows": f"{summary.rows:,}", "events": f"{summary.events:,}"}
    counts |= {f"expert {k}": f"{n:,}" for k, n in summary.rows_per_expert.items()}
    for i, share in enumerate(summary.missing_superlayer_share):
        counts[f"without SL{i}"] = f"{share:.1%}"
    counts["reference network"] = "absent"
    if summary.reference_z_std_cm is not None:
        z_std_cm = summary.reference_z_std_cm
        counts["reference network"] = f"present, z residual std {z_std_cm:.2f} cm"
    return counts


def _cells(spread: Spread) -> list[str]:
    values = (spread.mean, spread.std, spread.minimum, spread.median, spread.maximum)
    return [f"{value:.2f}" for value in values]


def _show_changes(found: Sequence[Change]) -> None:
    flagged = [change for change in found if change.flagged]
    if not flagged:
        click.echo(f"Nothing has changed: none of {len(found)} quantities stands out.")
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
