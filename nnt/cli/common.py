"""What the commands share: options, output, logs, and how errors are told.

Results go to stdout (with ``--json`` exactly one JSON object), everything else
to stderr.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from nnt.errors import NNTError
from nnt.files import is_full

__all__ = [
    "ABSENT",
    "data_option",
    "emit",
    "json_option",
    "log_option",
    "overrides_option",
    "print_table",
    "set_up_logging",
    "tell_errors",
]

P = ParamSpec("P")
R = TypeVar("R")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object instead of tables."
)

overrides_option = click.option(
    "-m",
    "--modify",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of the configuration, dots for nested ones; the value is "
    "read as YAML. May be given several times.",
)


ABSENT = ("none", "")
"""What a parameter of an MLproject holds when it was not given."""


def _files(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> list[str]:
    """Take several files in one word, as an MLproject hands them over."""
    words: list[str] = []
    for text in given:
        words += [text] if Path(text).exists() else text.split()
    return [word for word in words if word not in ABSENT]


data_option = click.option(
    "--data", multiple=True, metavar="FILE", callback=_files,
    help="Track file to judge on. May be given several times.",
)  # fmt: skip

log_option = click.option(
    "--log/--no-log", default=True, show_default=True,
    help="Whether to keep the result in the tracking store.",
)  # fmt: skip


def set_up_logging(verbose: bool = False) -> None:
    """Send the log of NNT to stderr, one line a record."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname).1s %(message)s"))
    logger = logging.getLogger("nnt")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False


def tell_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an `NNTError` into one message on stderr and exit status 1."""

    @functools.wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except NNTError as err:
            context = click.get_current_context(silent=True)
            root = context.find_root() if context else None
            if root is not None and root.params.get("debug_traceback"):
                raise
            raise click.ClickException(str(err)) from err
        except OSError as err:
            if not is_full(err):
                raise
            place = err.filename or Path.cwd()
            raise click.ClickException(
                f"{place}: {err.strerror}; make room and try again"
            ) from err

    return told


def emit(result: Mapping[str, Any]) -> None:
    """Print a result as one JSON object; numbers that are not finite as null."""
    click.echo(json.dumps(_finite(result), indent=2, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    """Print a table on stdout: the first column left, numbers to the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", header_style="bold")
    for i, column in enumerate(columns):
        table.add_column(escape(column), justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)
