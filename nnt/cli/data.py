"""``nnt data``: describe, simulate and split track files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import emit, json_option, print_table, tell_errors

if TYPE_CHECKING:
    from nnt.tracks import Tracks

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Describe, simulate and split track files."""


@command.command("describe")
@click.argument("files", nargs=-1, required=True)
@json_option
@tell_errors
def describe(files: tuple[str, ...], as_json: bool) -> None:
    r"""Tell what track files hold.

    \b
    Example:
      nnt data describe random1.gz random2.gz
    """
    from nnt.progress import show_progress
    from nnt.tracks import read_tracks

    with show_progress("Reading", "bytes") as progress:
        tracks = read_tracks(list(files), progress=progress)
    facts = _facts(tracks)
    if as_json:
        emit(facts)
        return
    share = facts.pop("missing_superlayer_share")
    experts = facts.pop("rows_per_expert")
    print_table(
        ", ".join(files), ["", "value"], [[k, _show(v)] for k, v in facts.items()]
    )
    print_table("Rows per expert", ["expert", "rows"], list(experts.items()))
    print_table(
        "Rows without a hit",
        ["superlayer", "share"],
        [[name, f"{value:.1%}"] for name, value in share.items()],
    )


def _show(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def _facts(tracks: Tracks) -> dict[str, Any]:
    import numpy as np

    from nnt.detector import N_SUPERLAYERS, superlayer_inputs, theta_to_deg, z_to_cm

    z_cm = z_to_cm(tracks.targets[:, 0])
    theta_deg = theta_to_deg(tracks.targets[:, 1])
    missing = {
        f"SL{sl}": float(np.mean(~tracks.inputs[:, superlayer_inputs(sl)].any(axis=1)))
        for sl in range(N_SUPERLAYERS)
    }
    experts, counts = np.unique(tracks.expert, return_counts=True)
    return {
        "rows": len(tracks),
        "events": int(tracks.event_index.max()) + 1,
        "z_mean_cm": float(np.mean(z_cm)),
        "z_std_cm": float(np.std(z_cm)),
        "share_within_1cm": float(np.mean(np.abs(z_cm) < 1)),
        "theta_mean_deg": float(np.mean(theta_deg)),
        "theta_std_deg": float(np.std(theta_deg)),
        "reference_network": tracks.reference is not None,
        "digest": tracks.digest,
        "rows_per_expert": dict(
            zip((str(k) for k in experts), counts.tolist(), strict=True)
        ),
        "missing_superlayer_share": missing,
    }


@command.command("simulate")
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--tracks", type=click.IntRange(min=100), required=True)
@click.option("--seed", type=int, default=1, show_default=True)
@tell_errors
def simulate_command(out_dir: Path, tracks: int, seed: int) -> None:
    r"""Write random1.gz, random2.gz and random3.gz in BASF2's 42-column form.

    \b
    Example:
      nnt data simulate data --tracks 100000 --seed 1
    """
    from nnt.progress import show_progress
    from nnt.simulation import simulate

    with show_progress("Simulating", "tracks") as progress:
        table = simulate(tracks, seed, progress)
    event = table.event_index
    parts = {f"random{i + 1}.gz": table[event % 3 == i] for i in range(3)}
    _write(parts, out_dir)


@command.command("split")
@click.argument("files", nargs=-1, required=True)
@click.option(
    "--to", "out_dir", type=click.Path(path_type=Path), required=True,
    help="Directory of the parts.",
)  # fmt: skip
@click.option("--basf2", is_flag=True, help="Streams 0 to 3 by BASF2's own rule.")
@click.option("--seed", type=int, default=1, show_default=True)
@tell_errors
def split(files: tuple[str, ...], out_dir: Path, basf2: bool, seed: int) -> None:
    r"""Split track files by event: train, val, test, or BASF2's streams.

    \b
    Example:
      nnt data split all.gz --to parts
    """
    from nnt.tracks import read_tracks, split_by_event, split_like_basf2

    tracks = read_tracks(list(files))
    if basf2:
        streams = split_like_basf2(tracks)
        parts = {f"random_{i}.gz": part for i, part in enumerate(streams)}
    else:
        shares = split_by_event(tracks, (0.6, 0.2, 0.2), seed)
        names = ("train.gz", "val.gz", "test.gz")
        parts = dict(zip(names, shares, strict=True))
    _write(parts, out_dir)


def _write(parts: dict[str, Tracks], out_dir: Path) -> None:
    from nnt.errors import DataError
    from nnt.tracks import write_tracks

    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for name, part in parts.items():
            write_tracks(part, out_dir / name)
            click.echo(f"{out_dir / name}: {len(part):,} rows", err=True)
    except OSError as err:
        raise DataError(
            f"{out_dir}: cannot be written ({err.strerror}); choose another directory"
        ) from err
