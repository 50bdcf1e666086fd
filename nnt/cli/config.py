"""``nnt config``: list, show and check configurations."""

from __future__ import annotations

from pathlib import Path

import click

from nnt.cli.common import (
    Group,
    UserPath,
    emit,
    json_option,
    overrides_option,
    print_table,
    tell_errors,
)

__all__ = ["command"]


@click.group(name="config", cls=Group)
def command() -> None:
    """List, show and check configurations."""


@command.command(name="list")
@json_option
@tell_errors
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
@click.option("--expert", type=click.IntRange(-1, 4), help="As this expert sees it.")
@click.option("--origin", is_flag=True, help="Show the file each key came from.")
@overrides_option
@json_option
@tell_errors
def show(
    config: str,
    expert: int | None,
    origin: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Print a resolved configuration as YAML."""
    from nnt.config import flatten, load_config, resolve

    loaded = load_config(config, overrides)
    origins = resolve(config, overrides)[1].origins
    chosen = loaded if expert is None else loaded.for_expert(expert)
    values = chosen.to_dict()
    if not origin:
        emit(values) if as_json else click.echo(chosen.to_yaml(), nl=False)
        return
    sources = {key: _origin(key, expert, origins) for key in flatten(values)}
    if as_json:
        emit(sources)
        return
    width = max(len(key) for key in sources)
    for key, value in flatten(values).items():
        click.echo(f"{key:<{width}}  {value}  # {sources[key]}")


def _origin(key: str, expert: int | None, origins: dict[str, str]) -> str:
    parts = key.split(".")
    for n in range(len(parts), 0, -1):
        above = ".".join(parts[:n])
        for place in (f"expert_{expert}.{above}", above):
            if place in origins:
                return origins[place]
    return "default"


@command.command()
@click.argument("paths", nargs=-1, type=UserPath(path_type=Path))
@json_option
@tell_errors
def check(paths: tuple[Path, ...], as_json: bool) -> None:
    """Check configurations: these files, or all in configs/."""
    from nnt.config import config_files, load_config
    from nnt.errors import ConfigError

    told: dict[str, str | None] = {}
    for path in paths or tuple(config_files().values()):
        try:
            load_config(path)
            told[str(path)] = None
        except ConfigError as err:
            told[str(path)] = str(err)
    wrong = [message for message in told.values() if message is not None]
    if as_json:
        emit(told)
    elif not wrong:
        ending = "configuration is" if len(told) == 1 else "configurations are"
        click.echo(f"{len(told)} {ending} valid")
    if wrong:
        raise ConfigError("\n".join(wrong))
