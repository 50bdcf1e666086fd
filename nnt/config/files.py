"""YAML files and the parents that each extends, merged key by key, with origins."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache, reduce
from pathlib import Path
from typing import Any

from nnt.config.yaml_text import ABSENT_WORDS, nodes, read_yaml, shown
from nnt.errors import ConfigError, did_you_mean, shorten
from nnt.files import expand_path, read_text

EXPERT_KEYS = tuple(f"expert_{k}" for k in range(5))
ALTERNATIVES = {
    "": ("out_size", "outputs"),
    "data": ("files", "simulate"),
    "dist": ("norm", "uniform"),
}
"""Mapping -> keys of which it has one: a child's replaces its parent's."""


Layer = tuple[str, Mapping[str, Any]]
"""What sets keys, such as the path of a file, and its keys."""


def directories() -> list[Path]:
    """List where names of configurations are looked up, in this order."""
    next_to_package = Path(__file__).resolve().parents[2] / "configs"
    return [Path("configs"), next_to_package]


def config_files() -> dict[str, Path]:
    """Find every configuration that has a name: name -> file, sorted.

    Hidden files are none: editors and network disks leave ``.#x.yaml`` and
    ``._x.yaml`` next to ``x.yaml``.
    """
    found: dict[str, Path] = {}
    for directory in reversed(directories()):
        found |= {
            path.stem: path
            for path in directory.glob("*.yaml")
            if not path.name.startswith(".") and not path.is_dir()
        }
    return dict(sorted(found.items()))


def find_config(name: str | Path, folder: Path | None = None) -> Path:
    """Find the file of a configuration by its name in ``configs/`` or its path.

    `folder` is that of the file that extends it, where it is looked up first.

    Raises
    ------
    ConfigError
        If there is none, with the nearest valid name.
    """
    text = str(name)
    is_path = text.endswith((".yaml", ".yml")) or "/" in text
    file = text if is_path else f"{text}.yaml"
    named = [directory / file for directory in directories()]
    places = [Path(expand_path(text))] if is_path else named
    if folder is not None:
        places.insert(0, folder / file)
    for place in places:
        try:
            if place.is_file():
                return place
        except OSError:  # a name too long, a directory of somebody else
            continue
    what_to_do = "check the path" if is_path else did_you_mean(text, config_files())
    if text in ABSENT_WORDS:
        what_to_do = "in YAML, write null for none"
    raise ConfigError(f"no configuration {shorten(text)}; {what_to_do}")


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the keys of one file."""
    value = _parsed(read_text(path, ConfigError), str(path))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected keys and values, got {shown(value)}")
    return value


@lru_cache(maxsize=64)
def _parsed(text: str, source: str) -> Any:
    """Parse a file once, though many configurations extend it; nobody changes it."""
    return read_yaml(text, source)


def read_layers(source: str | Path | Mapping[str, Any]) -> tuple[str, list[Layer]]:
    """Follow `extends` from a source to its root: its name, and layers, the root first.

    Raises
    ------
    ConfigError
        On an unknown parent, a circle, or a file that is not valid YAML.
    """
    layers: list[Layer] = []
    parent: Any = source
    if isinstance(source, Mapping):
        layers, parent = [("<mapping>", source)], source.get("extends")
    trail = [name for name, _ in layers]
    folder: Path | None = None
    while parent is not None:
        place = f"{layers[0][0]}: extends: " if layers else ""
        if not isinstance(parent, str | Path):
            raise ConfigError(
                f"{place}expected the name of a configuration, got {shown(parent)}"
            )
        try:
            path = find_config(parent, folder)
        except ConfigError as err:
            raise ConfigError(f"{place}{err}") from err
        trail.append(str(path.resolve()))
        if trail[-1] in trail[:-1]:
            circle = " -> ".join(Path(step).stem for step in trail)
            raise ConfigError(f"{place}circular: {circle}")
        layers.insert(0, (str(path), read_mapping(path)))
        parent, folder = layers[0][1].get("extends"), path.parent
    is_mapping = isinstance(source, Mapping)
    return "custom" if is_mapping else Path(layers[-1][0]).stem, layers


def merge(layers: Iterable[Layer]) -> dict[str, Any]:
    """Merge layers key by key, later ones over earlier ones."""
    return reduce(over, [values for _, values in layers], {})


def merge_overrides(
    layers: list[Layer], overrides: list[Layer], run_wide: Collection[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Merge the layers of files, then overrides, which win for every expert.

    An override for the whole run wins over what a file says for one expert, and an
    override for that expert (``expert_4.epochs``) over both, in whatever order the
    overrides are given. Also gives who has set each dotted key.
    """
    files, changed = merge(layers), merge(overrides)
    merged = merge([*layers, *overrides])
    for expert in EXPERT_KEYS:
        said, section = files.get(expert), merged.get(expert)
        if not isinstance(said, Mapping) or not isinstance(section, Mapping):
            continue
        last = reduce(over, [files, said, changed, changed.get(expert, {})])
        again = (said.keys() & changed.keys()) - set(run_wide)
        merged[expert] = {
            key: last[key] if key in again else item
            for key, item in section.items()
            if key not in again or last[key] != merged.get(key)
        }
    present = {key for key, _ in nodes(merged)}
    origins = {
        key: source
        for source, values in [*layers, *overrides]
        for key, _ in nodes(values)
        if key in present
    }
    return merged, origins


def over(
    below: Mapping[str, Any], above: Mapping[str, Any], key: str = ""
) -> dict[str, Any]:
    """Lay the keys of a mapping over those that it inherits; `key` is its own."""
    below = _still_valid(key, below, above)
    result = dict(below)
    for name, value in above.items():
        result[name] = value
        inherited = below.get(name)
        if isinstance(value, Mapping) and isinstance(inherited, Mapping):
            result[name] = over(inherited, value, str(name))
    return result


def _still_valid(
    key: str, inherited: Mapping[str, Any], value: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Drop from an inherited mapping what the child's form of it replaces."""
    name = inherited.get("name")
    if key == "lr_schedule" and value.get("name", name) != name:
        return {}
    forms = set(ALTERNATIVES.get(key, ()))
    chosen = {form for form in forms if value.get(form) is not None}
    drop = forms - chosen if chosen else set()
    if key == "data" and isinstance(value.get("files"), Mapping):
        drop.add("split")
    return {name: item for name, item in inherited.items() if name not in drop}
