"""``nnt predict``."""

from __future__ import annotations

from pathlib import Path

import click

from nnt.cli.common import (
    UserPath,
    check_integer_options,
    emit,
    fixed_point_option,
    json_option,
    precision_option,
    print_table,
    report_errors,
    saturate_option,
)
from nnt.files import is_standard_output

__all__ = ["command"]


@click.command("predict")
@click.argument("run")
@click.argument("files", nargs=-1, required=True, type=UserPath(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=UserPath(path_type=Path),
    help="File for all rows, or an existing directory for one file per input; names "
    "ending in .gz are compressed, - is standard output.",
)  # fmt: skip
@fixed_point_option
@precision_option
@saturate_option
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@json_option
@report_errors
def command(
    run: str,
    files: tuple[Path, ...],
    output: Path,
    fixed_point: bool,
    precision: tuple[int, ...] | None,
    saturate_13_bit: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Append the predictions of a run to every track of FILES.

    The rows come out in their order and as they are, with the columns NewZ and
    NewTheta behind, in network units. With --fixed-point these are the outputs of the
    firmware, and NewRawZ and NewRawTheta hold its integers. RUN is a run ID, runs:/ID,
    models:/name[@alias] or a path to a weights.json.

    \b
    Examples:
      nnt predict RUN period42.gz -o predicted.gz
      nnt predict RUN period42.gz -o integers.gz --fixed-point --saturate-13-bit
    """
    from nnt.evaluation import predict

    check_integer_options(fixed_point, precision, saturate_13_bit)
    output = Path("/dev/stdout") if output == Path("-") else output
    to_stdout = is_standard_output(output)
    if to_stdout and as_json:
        raise click.UsageError("--json: standard output is already used for the rows")
    written = predict(
        run,
        files,
        output,
        fixed_point=fixed_point,
        precision=precision,
        saturate_13_bit=saturate_13_bit,
        overwrite=overwrite,
    )
    rows = {str(path): n for path, n in written.items()}
    if to_stdout:
        return
    if as_json:
        emit({"run": run, "rows": rows})
    else:
        print_table(
            "Written", ["file", "rows"], [[k, f"{n:,}"] for k, n in rows.items()]
        )
