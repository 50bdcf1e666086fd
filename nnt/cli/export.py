"""``nnt export``."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import (
    Shown,
    UserPath,
    listed,
    overwrite_option,
    precision_option,
    print_table,
    reports,
    saturate_option,
)
from nnt.export.targets import TARGETS

if TYPE_CHECKING:
    from nnt.export import Payload


def _payload(
    valid_from: tuple[int, int] | None,
    valid_to: tuple[int, int] | None,
    firmware: Path | None,
) -> Payload | None:
    from nnt.export import read_payload

    if valid_from is not None:
        return read_payload(valid_from, valid_to, firmware)
    if valid_to is not None or firmware is not None:
        raise click.UsageError("--valid-to and --firmware need --valid-from")
    return None


def _described() -> str:
    return "\n".join(f"{name:7} {target.help}" for name, target in TARGETS.items())


@click.command(
    "export",
    help=f"""Write the files of a run for deployment, each checked.

    RUN is a run ID, runs:/ID, models:/name[@alias] or a path to a weights.json.

    \b
{textwrap.indent(_described(), "    ")}

    \b
    Example:
      nnt export RUN --to basf2 -o for_basf2 --settings neurotrigger_of_the_data.conf
    """,
)
@click.argument("run")
@click.option(
    "--to", "target", required=True, type=click.Choice(list(TARGETS)),
    help="What the files are for.",
)  # fmt: skip
@click.option(
    "-o", "--output", "folder", required=True, type=UserPath(path_type=Path),
    help="Folder for the files and MANIFEST.json.",
)  # fmt: skip
@click.option(
    "--settings", type=UserPath(path_type=Path),
    help="The configuration with which BASF2 wrote the training data: its ID ranges, "
    "patterns and scales are copied unchanged into the files.",
)  # fmt: skip
@precision_option
@saturate_option
@click.option(
    "--outputs", metavar="NAMES", callback=lambda _, __, text: listed(text),
    help="Outputs to export, comma-separated, such as z,theta; all others are dropped. "
    "[default: all]",
)  # fmt: skip
@click.option(
    "--valid-from", nargs=2, type=int, metavar="EXP RUN",
    help="Write payload.conf for BASF2's database: valid from this experiment and run.",
)  # fmt: skip
@click.option(
    "--valid-to", nargs=2, type=int, metavar="EXP RUN",
    help="Valid up to this experiment and run. [default: no end, -1 -1]",
)  # fmt: skip
@click.option(
    "--firmware", type=UserPath(path_type=Path), metavar="PAYLOAD_CONF",
    help="Earlier payload.conf to copy the name, note and bit fields of the firmware "
    "from.",
)  # fmt: skip
@overwrite_option
@reports
def command(
    run: str,
    target: str,
    folder: Path,
    settings: Path | None,
    outputs: tuple[str, ...] | None,
    valid_from: tuple[int, int] | None,
    valid_to: tuple[int, int] | None,
    firmware: Path | None,
    **options: Any,
) -> Shown:
    """Write the files that deploy a run, and check each of them."""
    from nnt.export import export, load_source, read_settings

    payload = _payload(valid_from, valid_to, firmware)
    source = load_source(run)
    if outputs is not None:
        source = source.with_outputs(outputs)
    given = None if settings is None else read_settings(settings)
    manifest = export(
        source, target, folder, settings=given, payload=payload, **options
    )
    return Shown({"folder": str(folder), **manifest}, lambda: _show(folder, manifest))


def _show(folder: Path, manifest: dict[str, Any]) -> None:
    rows = [
        [name, f"{facts['bytes']:,}", facts["sha256"][:16]]
        for name, facts in manifest["files"].items()
    ]
    print_table(f"{folder}, checked", ["file", "bytes", "sha256"], rows)
    for k, expert in manifest["experts"].items():
        for change in expert["changes"]:
            click.echo(f"expert {k}: {change}")
