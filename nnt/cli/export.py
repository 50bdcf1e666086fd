"""``nnt export``."""

from __future__ import annotations

from pathlib import Path

import click

from nnt.cli.common import UserPath, emit, json_option, print_table, tell_errors
from nnt.cli.integers import precision_option, saturate_option

__all__ = ["command"]

TARGETS = ("json", "basf2", "fpga", "3dh", "onnx")


@click.command("export")
@click.argument("run")
@click.option(
    "--to", "target", required=True, type=click.Choice(TARGETS),
    help="What the files are for.",
)  # fmt: skip
@click.option(
    "-o", "--output", "folder", required=True, type=UserPath(path_type=Path),
    help="Folder for the files and MANIFEST.json.",
)  # fmt: skip
@click.option(
    "--settings", type=UserPath(path_type=Path),
    help="The configuration with which BASF2 wrote the training data: its ID ranges, "
    "patterns and scales go unchanged into the files.",
)  # fmt: skip
@precision_option
@saturate_option
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@json_option
@tell_errors
def command(
    run: str,
    target: str,
    folder: Path,
    settings: Path | None,
    precision: tuple[int, ...] | None,
    saturate_13_bit: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the files of a run for deployment, each checked.

    RUN is a run ID, runs:/ID, models:/name[@alias] or a path to a weights.json.

    \b
    json    weights.json for BASF2's trgcdc_neurorootconverter
    basf2   the same, and the configuration that goes with it
    fpga    integer weights as plain text
    3dh     weights, configuration and integers of the 3D Hough chain
    onnx    graphs for other software, in floats and in the firmware's integers

    \b
    Example:
      nnt export RUN --to basf2 -o for_basf2
    """
    from nnt.deployment import export_run

    manifest = export_run(
        run,
        target,
        folder,
        settings=settings,
        precision=precision,
        saturate_13_bit=saturate_13_bit,
        overwrite=overwrite,
    )
    if as_json:
        emit({"folder": str(folder), **manifest})
        return
    files = manifest["files"]
    rows = [[n, f"{own['bytes']:,}", own["sha256"][:16]] for n, own in files.items()]
    print_table(f"{folder}, checked", ["file", "bytes", "sha256"], rows)
    for k, expert in manifest["experts"].items():
        for change in expert["changes"]:
            click.echo(f"expert {k}: {change}")
