"""``nnt config``: list, show and check configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from nnt.cli.common import (
    Group,
    UserPath,
    emit,
    json_option,
    overrides_option,
    print_table,
    report_errors,
)

__all__ = ["command"]

DEFAULT = "default"
SIMULATION = "data.simulate."
SAME = {"outputs": "out_size", "out_size": "outputs"}
"""Key -> another one that it follows from."""


@click.group(name="config", cls=Group)
def command() -> None:
    """List, show and check configurations."""


@command.command(name="list")
@json_option
@report_errors
def list_configs(as_json: bool) -> None:
    """List the configurations that have a name."""
    from nnt.config import config_files, load_config
    from nnt.errors import ConfigError

    rows: list[tuple[str, str, str]] = []
    broken: dict[str, str] = {}
    for name, path in config_files().items():
        try:
            config = load_config(path)
            rows.append((name, config.category, config.description))
        except ConfigError as err:
            broken[name] = str(err)
            rows.append((name, "", "cannot be used, see below"))
    if as_json:
        emit({name: None if name in broken else text for name, _, text in rows})
    else:
        print_table("Configurations", ["name", "category", "description"], rows)
    for message in broken.values():
        click.echo(message, err=True)


@command.command()
@click.argument("config")
@click.option(
    "--expert", type=click.IntRange(-1, 4), help="Show the values for this expert."
)
@click.option(
    "--origin",
    is_flag=True,
    help="Show where each value comes from: a file, -m, or the default.",
)
@overrides_option
@json_option
@report_errors
def show(
    config: str,
    expert: int | None,
    origin: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print a resolved configuration as YAML.

    Parameters of the simulation that have their defaults are left out, but for --json.
    """
    from nnt.config import as_yaml, flatten, load_config, resolve

    loaded = load_config(config, overrides)
    origins = resolve(config, overrides)[1].origins
    chosen = loaded if expert is None else loaded.for_expert(expert)
    values = chosen.to_dict()
    sources = {key: _origin(key, expert, origins) for key in flatten(values)}
    if as_json:
        emit(sources if origin else values)
        return
    n_keys, values = len(sources), _with_set_parameters(values, sources)
    shown = flatten(values)
    if origin:
        width = max(map(len, shown))
        for key, value in shown.items():
            click.echo(f"{key:<{width}}  {value}  # {sources[key]}")
    else:
        click.echo(as_yaml(values), nl=False)
    if n_hidden := n_keys - len(shown):
        click.echo(f"# and {n_hidden} parameters of {SIMULATION}* with their defaults")


def _with_set_parameters(
    values: Mapping[str, Any], sources: Mapping[str, str], prefix: str = ""
) -> dict[str, Any]:
    """Leave out the parameters of the simulation that have their defaults."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            kept[name] = _with_set_parameters(value, sources, f"{key}.")
        elif not key.startswith(SIMULATION) or sources[key] != DEFAULT:
            kept[name] = value
    return {name: value for name, value in kept.items() if value != {}}


def _origin(key: str, expert: int | None, origins: Mapping[str, str]) -> str:
    other = SAME.get(key, key)
    for place in (f"expert_{expert}.{key}", key, other):
        if place in origins:
            return origins[place]
    return "from the file name" if key == "name" else DEFAULT


@command.command()
@click.argument("paths", nargs=-1, type=UserPath(path_type=Path))
@json_option
@report_errors
def check(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check configurations: these files, or all that have a name."""
    from nnt.config import config_files, load_config
    from nnt.errors import ConfigError

    results: dict[str, str | None] = {}
    for path in paths or tuple(config_files().values()):
        try:
            load_config(path)
            results[str(path)] = None
        except ConfigError as err:
            results[str(path)] = str(err)
    wrong = [message for message in results.values() if message is not None]
    if as_json:
        emit(results)
    elif not wrong:
        ending = "configuration is" if len(results) == 1 else "configurations are"
        click.echo(f"{len(results)} {ending} valid")
    if wrong:
        raise ConfigError("\n".join(wrong))
