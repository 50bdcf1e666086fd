"""What the commands share: options, output, logs, and how errors are reported.

Results go to stdout (with ``--json`` exactly one JSON object), everything else
to stderr.
"""

from __future__ import annotations

import errno
import functools
import json
import logging
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import click

from nnt.cli.process import forget_output
from nnt.errors import NNTError, did_you_mean, shorten
from nnt.files import expand_path, remedy

P = ParamSpec("P")
R = TypeVar("R")
Command = Callable[..., R]

DATA_SPLIT = (0.6, 0.2, 0.2)
"""Shares of the events of files that are given by ``--data``."""
ABSENT = ("none", "")
"""What a parameter of an MLproject holds when it was not given."""


class Shown(NamedTuple):
    """What a command has to say."""

    result: Mapping[str, Any]
    """For ``--json``."""
    show: Callable[[], object]
    """Prints it for people."""
    has_failed: bool = False
    """Whether the exit status is 1 all the same."""
    notes: Sequence[str] = ()
    """Lines for stderr."""


class Group(click.Group):
    """A group of commands that knows what a misspelt one was meant to be."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or name the nearest one."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            near = did_you_mean(name, self.list_commands(ctx))
            raise click.UsageError(f"no command {shorten(name)}; {near}", ctx)
        return super().resolve_command(ctx, args)


class UserPath(click.Path):
    """A path as a person writes it: ``~`` and ``$VARIABLES`` expanded, spaces kept."""

    name = "path"

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Expand it by the rule of all paths, then check it as click does."""
        if not os.fspath(value):
            self.fail("expected a path, got nothing", param, ctx)
        return super().convert(expand_path(value), param, ctx)


def track_files(given: Iterable[str]) -> list[str]:
    """Read the values of ``--data``, each one file, or several that exist.

    An MLproject hands several files over in one text. What is no file as a whole is
    split at its spaces, with quotes as in a shell, if every part is a file.
    """
    files: list[str] = []
    for text in given:
        if text in ABSENT:
            continue
        whole = expand_path(text)
        parts = [expand_path(part) for part in _words(text)]
        # Not by Path: a NUL in a name is nothing that exists, and no traceback.
        is_list = not os.path.exists(whole) and all(map(os.path.exists, parts))  # noqa: PTH110
        files += parts if is_list and parts else [whole]
    return files


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an apostrophe in a name
        return text.split()


def _read_by(read: Callable[[Any], R]) -> Callable[[object, object, Any], R]:
    """Make a callback of an option from a function of its value."""
    return lambda _, __, value: read(value)


def listed(text: str | None) -> tuple[str, ...] | None:
    """Read what is separated by commas; None where nothing is given."""
    if text is None or text in ABSENT:
        return None
    return tuple(part.strip() for part in text.split(","))


def _precision(text: str | None) -> tuple[int, ...] | None:
    parts = listed(text)
    try:
        return None if parts is None else tuple(map(int, parts))
    except ValueError as err:
        raise click.BadParameter("expected six comma-separated counts of bits") from err


def _run_to_resume(text: str | None) -> str:
    """Give the run to go on with; empty for a new one, as with an MLproject's none."""
    if text is not None and not text.strip():
        raise click.BadParameter(
            "expected a run, found an empty text; name the run that was interrupted, "
            "or leave --resume out to start anew"
        )
    return "" if text is None or text in ABSENT else text


def resume_option(text: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make the option ``--resume`` with its help."""
    callback = _read_by(_run_to_resume)
    return click.option("--resume", metavar="RUN", callback=callback, help=text)


flag = functools.partial(click.option, is_flag=True)
json_option = flag("--json", "as_json", help="Print one JSON object instead of tables.")
overrides_option = click.option(
    "-m", "--modify", "overrides", multiple=True, metavar="KEY=VALUE",
    help="Override a key of the configuration for all experts; dots reach nested keys, "
    "values are read as YAML. May be given several times.",
)  # fmt: skip
data_option = click.option(
    "--data", multiple=True, metavar="FILE", callback=_read_by(track_files),
    help="Track file to use in place of the training's data. May be given several "
    "times.",
)  # fmt: skip
training_data_option = click.option(
    "--data", multiple=True, metavar="FILE", callback=_read_by(track_files),
    help="Track file to use instead of the configuration's data, split 60 : 20 : 20 "
    "by event. May be given several times.",
)  # fmt: skip
page_option = click.option(
    "-o", "--output", "page_to", type=UserPath(path_type=Path, dir_okay=False),
    help="Also write the HTML page to this file.",
)  # fmt: skip
precision_option = click.option(
    "--precision", metavar="BITS", callback=_read_by(_precision),
    help="Six comma-separated counts of fractional bits: phi, factor, ID, nodes, "
    "weights, table. [default: those that the run was trained for, else "
    "12,8,8,12,10,10]",
)  # fmt: skip
saturate_option = flag(
    "--saturate-13-bit",
    help="Saturate integer outputs at 13 bits: 4095 where BASF2 returns 4096.",
)
overwrite_option = flag("--overwrite", help="Replace existing files.")
files_argument = click.argument(
    "files", nargs=-1, required=True, type=UserPath(path_type=Path)
)


def log_option(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make the option ``--log`` of a command that knows it by another name."""
    return click.option(
        "--log/--no-log", name, default=True, show_default=True,
        help="Whether to add the result to the tracking store.",
    )  # fmt: skip


def integer_options(command: Command[R]) -> Command[R]:
    """Add the options of the firmware's integers, which go together."""

    @flag("--fixed-point", help="Use the integer arithmetic of the firmware.")
    @precision_option
    @saturate_option
    @functools.wraps(command)
    def checked(**given: Any) -> R:
        is_needed = given["precision"] is not None or given["saturate_13_bit"]
        if is_needed and not given["fixed_point"]:
            raise click.UsageError(
                "--precision and --saturate-13-bit need --fixed-point"
            )
        return command(**given)

    return checked


def rows_options(command: Command[R]) -> Command[R]:
    """Add ``--data`` and ``--split``, of which one may be given."""

    @data_option
    @click.option(
        "--split", type=click.Choice(["train", "val", "test", "none"]),
        callback=_read_by(lambda split: None if split == "none" else split),
        help="Split of the run's data, or of the first run's, to use if no files are "
        "given. [default: test]",
    )  # fmt: skip
    @functools.wraps(command)
    def checked(**given: Any) -> R:
        if given["data"] and given["split"]:
            raise click.UsageError("give either --data or --split")
        return command(**given)

    return checked


def reports(command: Command[Shown]) -> Command[None]:
    """Add ``--json``, and print what a command returns."""

    @json_option
    @functools.wraps(command)
    def reported(as_json: bool, **given: Any) -> None:
        done = command(**given)
        if as_json:
            emit(done.result)
        else:
            done.show()
        for note in done.notes:
            click.echo(note, err=True)
        if done.has_failed:
            sys.exit(1)

    return reported


def report_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turn an `NNTError`, or an error of the system, into one message.

    It goes to stderr, and the exit status is 1.
    """

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except NNTError as err:
            if _wants_traceback():
                raise
            raise click.ClickException(str(err)) from err
        except OSError as err:
            # A reader that has gone is no error, and click knows what to do.
            if err.errno in (None, errno.EPIPE) or _wants_traceback():
                raise
            forget_output()
            place = f"{err.filename}: " if err.filename else ""
            reason = err.strerror or str(err)
            raise click.ClickException(f"{place}{reason}; {remedy(err)}") from err

    return guarded


def _wants_traceback() -> bool:
    context = click.get_current_context(silent=True)
    root = context.find_root() if context else None
    return root is not None and bool(root.params.get("debug_traceback"))


def set_up_logging(verbose: bool = False) -> None:
    """Send the log of NNT to stderr, one line a record."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname).1s %(message)s"))
    logger = logging.getLogger("nnt")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False


def emit(result: Mapping[str, Any]) -> None:
    """Print a result as one JSON object; numbers that are not finite as null."""
    click.echo(json.dumps(_finite(result), indent=2, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
    width = None
    if not sys.stdout.isatty():
        # In a log or a pipe, names and paths stay whole, so that searches find them.
        first = max((len(str(row[0])) for row in rows), default=0)
        table.columns[0].min_width = first
        width = max(160, first + 100)
    for row in rows:
        table.add_row(*(escape(str(cell)) for cell in row))
    Console(width=width).print(table)


def changes(
    overrides: Iterable[str], files: Sequence[str]
) -> list[str | Mapping[str, object]]:
    """What ``-m`` and ``--data`` change in a configuration; later entries win."""
    found: list[str | Mapping[str, object]] = [t for t in overrides if t not in ABSENT]
    if files:
        found.append({"data": {"files": list(files), "split": list(DATA_SPLIT)}})
    return found
