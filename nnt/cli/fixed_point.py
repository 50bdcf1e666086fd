"""Options of the commands that compute in the firmware's integers."""

from __future__ import annotations

import click

from nnt.cli.common import ABSENT

__all__ = [
    "check_integer_options",
    "fixed_point_option",
    "precision_option",
    "saturate_option",
]


def _precision(
    _: click.Context, __: click.Parameter, text: str | None
) -> tuple[int, ...] | None:
    if text is None or text in ABSENT:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as err:
        raise click.BadParameter("expected six comma-separated counts of bits") from err


precision_option = click.option(
    "--precision", metavar="BITS", callback=_precision,
    help="Six comma-separated counts of fractional bits: phi, factor, ID, nodes, "
    "weights, table. [default: those that the run was trained for, else "
    "12,8,8,12,10,10]",
)  # fmt: skip

fixed_point_option = click.option(
    "--fixed-point", is_flag=True, help="In the integer arithmetic of the firmware."
)

saturate_option = click.option(
    "--saturate-13-bit", is_flag=True,
    help="Keep integer outputs in a signed word: 4095 where BASF2 returns 4096.",
)  # fmt: skip


def check_integer_options(
    fixed_point: bool, precision: tuple[int, ...] | None, saturate_13_bit: bool
) -> None:
    """Refuse options of the integers where floats are computed."""
    if not fixed_point and (precision is not None or saturate_13_bit):
        raise click.UsageError("--precision and --saturate-13-bit need --fixed-point")
