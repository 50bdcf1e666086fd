"""The command line: parse, call, print. Commands are loaded when they are used.

``nnt --help`` must answer at once, so this file knows the commands by name and
help line only; each lives in a module that imports what it needs inside the
command.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
from pathlib import Path
from typing import Any

import click

from nnt.cli.common import Group, flag, report_errors, set_up_logging
from nnt.cli.process import open_streams
from nnt.errors import NNTError
from nnt.plugins import VARIABLE, load_plugins
from nnt.version import __version__

COMMANDS = {
    "train": ("train:train_command", "Train the experts of a configuration."),
    "sweep": ("train:sweep_command", "Search for a better configuration."),
    "config": ("config:command", "List, show and check configurations."),
    "evaluate": ("evaluate:evaluate", "Measure how good the networks of a run are."),
    "list": ("store:list_runs", "List the newest trainings."),
    "compare": ("evaluate:compare", "Compare runs on the same rows."),
    "predict": ("evaluate:predict", "Append the outputs of a run to track files."),
    "promote": (
        "evaluate:promote",
        "Let a run replace the present network if it is no worse.",
    ),
    "export": ("export:command", "Write the files that BASF2 and the firmware load."),
    "register": ("store:register", "Give the model of a run a permanent name."),
    "ui": ("store:ui", "Open the MLflow UI on the runs of the project."),
    "tensorboard": ("store:tensorboard", "Convert a run for TensorBoard."),
    "sync": ("store:sync", "Upload results that the server missed."),
    "data": ("data:command", "Describe, simulate and split track files."),
}
"""Command -> module, its name there, and help line."""
GC_THRESHOLD = 100_000
"""New objects between two looks for garbage."""


class LazyGroup(Group):
    """A group that imports the module of a command when the command is run.

    It reports the errors of every command, also those of printing its help.
    """

    @report_errors
    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options of `nnt` itself, one of which prints its help."""
        return super().make_context(*args, **kwargs)

    @report_errors
    def invoke(self, ctx: click.Context) -> Any:
        """Read the options of a command, and run it."""
        return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of a day's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        found = getattr(importlib.import_module(f"nnt.cli.{module}"), name)
        command: click.Command = found
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nnt")
@flag("-v", "--verbose", help="Print more detail on stderr.")
@flag("--debug-traceback", help="Show where an error was raised.")
@click.option(
    "--plugin", "plugins", multiple=True, metavar="MODULE",
    help="Import a Python module that adds filters, plots or metrics; the "
    f"environment variable {VARIABLE} does the same.",
)  # fmt: skip
def main(verbose: bool, debug_traceback: bool, plugins: tuple[str, ...]) -> None:
    """Train the neural z-vertex trigger of Belle II and track every training.

    \b
    Examples:
      nnt config list
      nnt train baseline_v2                   a quick look: one expert, 10 epochs
      nnt train baseline_v2 -p -d "run 42"    the real training
      nnt list                                what was trained
    """
    open_streams()
    # Libraries make a million objects that stay: looking for garbage among them as
    # often as Python does by itself is a fifth of the time until a training begins.
    gc.set_threshold(GC_THRESHOLD, 50, 100)
    # The last collection walks through every object of every library: a second or more.
    atexit.register(gc.freeze)
    set_up_logging(verbose)
    _check_directory()
    if plugins:
        # In the environment, so that the processes of this one know them too.
        named = [os.environ.get(VARIABLE, ""), *plugins]
        os.environ[VARIABLE] = ",".join(name for name in named if name)
    load_plugins()


def _check_directory() -> None:
    """Raise an error before libraries end the process without a reason."""
    try:
        Path.cwd()
    except OSError as err:
        raise NNTError(
            f"the working directory cannot be used ({err.strerror}); it may have been "
            "deleted: change to another one"
        ) from err
