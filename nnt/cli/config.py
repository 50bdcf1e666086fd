"""``nnt config``: list, show and check configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nnt.cli.common import (
    Group,
    Shown,
    UserPath,
    flag,
    overrides_option,
    print_table,
    reports,
)
from nnt.errors import ConfigError

if TYPE_CHECKING:
    from nnt.config import Config

DEFAULT = "default"
SIMULATION = "data.simulate."
SAME = {"outputs": "out_size", "out_size": "outputs"}
"""Key -> another one that it follows from."""


@click.group(name="config", cls=Group)
def command() -> None:
    """List, show and check configurations."""


def _load(path: Path) -> Config | str:
    """Load a configuration, or give the message why not."""
    from nnt.config import load_config

    try:
        return load_config(path)
    except ConfigError as err:
        return str(err)


@command.command(name="list")
@reports
def list_configs() -> Shown:
    """List the configurations that have a name."""
    from nnt.config import config_files

    loaded = {name: _load(path) for name, path in config_files().items()}
    rows = [
        (name, "", "cannot be used, see below")
        if isinstance(config, str)
        else (name, config.category, config.description)
        for name, config in loaded.items()
    ]
    broken = [found for found in loaded.values() if isinstance(found, str)]
    texts = {
        name: None if isinstance(config, str) else config.description
        for name, config in loaded.items()
    }
    columns = ["name", "category", "description"]
    return Shown(
        texts, lambda: print_table("Configurations", columns, rows), notes=broken
    )


@command.command()
@click.argument("config")
@click.option(
    "--expert", type=click.IntRange(-1, 4), help="Show the values for this expert."
)
@flag("--origin", help="Show where each value comes from: a file, -m, or the default.")
@overrides_option
@reports
def show(
    config: str, expert: int | None, origin: bool, overrides: tuple[str, ...]
) -> Shown:
    """Print a resolved configuration as YAML.

    Parameters of the simulation that have their defaults are left out, but for --json.
    """
    from nnt.config import flatten, load_config, resolve

    loaded = load_config(config, overrides)
    *_, origins = resolve(config, overrides)
    values = (loaded if expert is None else loaded.for_expert(expert)).to_dict()
    sources = {key: _origin(key, expert, origins) for key in flatten(values)}
    return Shown(
        sources if origin else values,
        lambda: _show(values, sources, with_origin=origin),
    )


def _show(
    values: Mapping[str, Any], sources: Mapping[str, str], *, with_origin: bool
) -> None:
    from nnt.config import as_yaml, flatten

    kept = _without_defaults(values, sources)
    shown = flatten(kept)
    if with_origin:
        width = max(map(len, shown))
        for key, value in shown.items():
            click.echo(f"{key:<{width}}  {value}  # {sources[key]}")
    else:
        click.echo(as_yaml(kept), nl=False)
    if n_hidden := len(sources) - len(shown):
        click.echo(f"# and {n_hidden} parameters of {SIMULATION}* with their defaults")


def _without_defaults(
    values: Mapping[str, Any], sources: Mapping[str, str]
) -> dict[str, Any]:
    """Leave out the parameters of the simulation that have their defaults."""
    data = dict(values["data"])
    if "simulate" in data:
        data["simulate"] = {
            name: value
            for name, value in data["simulate"].items()
            if sources[f"{SIMULATION}{name}"] != DEFAULT
        }
    return {**values, "data": data}


def _origin(key: str, expert: int | None, origins: Mapping[str, str]) -> str:
    for place in (f"expert_{expert}.{key}", key, SAME.get(key, key)):
        if place in origins:
            return origins[place]
    return "from the file name" if key == "name" else DEFAULT


@command.command()
@click.argument("paths", nargs=-1, type=UserPath(path_type=Path))
@reports
def check(paths: tuple[Path, ...]) -> Shown:
    """Check configurations: these files, or all that have a name."""
    from nnt.config import config_files

    loaded = {str(p): _load(p) for p in paths or config_files().values()}
    results = {k: c if isinstance(c, str) else None for k, c in loaded.items()}
    wrong = "\n".join(filter(None, results.values()))
    ending = "configuration is" if len(results) == 1 else "configurations are"
    words = "" if wrong else f"{len(results)} {ending} valid"
    notes = [f"Error: {wrong}"] if wrong else []
    return Shown(results, lambda: click.echo(words, nl=not wrong), bool(wrong), notes)
