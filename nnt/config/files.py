"""YAML files, their inheritance, and where each key came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import nnt
from nnt.config.checks import listed
from nnt.errors import ConfigError, did_you_mean, shorten

__all__ = ["Layer", "config_files", "find_config", "merge", "read_layers", "read_yaml"]

MAX_BYTES = 1_000_000
MAX_DIGITS = 100
"""Characters of a number: the time to read one grows with their square."""
FLOAT = re.compile(
    r"^[-+]?(?:(?:\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*)(?:[eE][-+]?\d+)?"
    r"|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
)
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
ALTERNATIVES = {"data": ("files", "simulate"), "dist": ("norm", "uniform")}
"""Key -> forms of which it has one: a child's form replaces its parent's."""


@dataclass(frozen=True)
class Layer:
    """The keys that one source sets."""

    source: str
    values: Mapping[str, Any]


class StrictLoader(yaml.SafeLoader):
    """Plain YAML: no duplicate keys, no aliases, and ``1e-3`` is a number."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.problems: list[str] = []

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases, a few lines of which may stand for gigabytes, and tags."""
        events: Any = self  # its stubs leave the events untyped
        event = events.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError(
                f"line {line}: aliases (*name) are not supported, use extends"
            )
        if event.tag is not None:
            raise yaml.YAMLError(
                f"line {line}: tags ({shorten(event.tag)}) are not supported"
            )
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """Refuse numbers without end, and characters that no file can hold."""
        value: Any = super().construct_scalar(node)
        line = node.start_mark.line + 1
        if node.tag in NUMBERS and len(value) > MAX_DIGITS:
            raise yaml.YAMLError(f"line {line}: a number of {len(value)} characters")
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise yaml.YAMLError(f"line {line}: half a character ({shorten(value)})")
        return value

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Any, Any]:
        """Note every key that is there twice or is not text."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            where = f"line {key_node.start_mark.line + 1}"
            if not isinstance(key, str):
                self.problems.append(
                    f"{where}: expected text as key, got {shorten(key)}"
                    " (YAML reads on, off, yes, no as true or false: quote them)"
                )
                continue
            if key in seen:
                self.problems.append(f"{where}: key {shorten(key)} is there twice")
            seen.add(key)
        if self.problems:
            return {}
        return super().construct_mapping(node, deep=True)


# The first resolver that matches wins, so integers keep theirs.
StrictLoader.yaml_implicit_resolvers = {
    first: list(rules)
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", FLOAT, list("-+.0123456789")
)


def read_yaml(text: str, source: str) -> Any:
    """Read one YAML value; raise `ConfigError` that names the source."""
    try:
        loader = StrictLoader(text)
        value = loader.get_single_data()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as err:
        told = " ".join(str(err).split())
        raise ConfigError(f"{source}: not valid YAML: {told[:400]}") from err
    if loader.problems:
        raise ConfigError(listed([f"{source}: {told}" for told in loader.problems]))
    return value


def directories() -> list[Path]:
    """List where names of configurations are looked up, in this order."""
    beside_package = Path(nnt.__file__).resolve().parents[1] / "configs"
    return [Path("configs"), beside_package]


def config_files() -> dict[str, Path]:
    """Find every configuration that has a name: name -> file, sorted."""
    found: dict[str, Path] = {}
    for directory in reversed(directories()):
        found |= {path.stem: path for path in directory.glob("*.yaml")}
    return dict(sorted(found.items()))


def find_config(name: str | Path, beside: Path | None = None) -> Path:
    """Find the file of a configuration by its name or path.

    Parameters
    ----------
    name : str or Path
        A name in ``configs/`` or the path of a YAML file.
    beside : Path, optional
        Directory that is looked up first: that of the file which extends it.

    Raises
    ------
    ConfigError
        If there is none, with the nearest valid name.
    """
    text = str(name)
    is_path = text.endswith((".yaml", ".yml")) or "/" in text
    if is_path:
        places = [_at_home(Path(text))]
        if beside is not None:
            places.insert(0, beside / text)
    else:
        places = [place / f"{text}.yaml" for place in directories()]
        if beside is not None:
            places.insert(0, beside / f"{text}.yaml")
    for place in places:
        try:
            if place.is_file():
                return place
        except OSError:  # a name too long, a directory of somebody else
            continue
    raise ConfigError(
        f"no configuration {shorten(text)}; " + did_you_mean(text, config_files())
    )


def _at_home(path: Path) -> Path:
    """Put in the home directory for ``~``; without one, the path is as it was."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the keys of one file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: expected at most {MAX_BYTES} bytes of YAML")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"{path}: cannot be read as text: {err}") from err
    value = read_yaml(text, str(path))
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected keys and values, got {shorten(value)}")
    return value


def read_layers(source: str | Path | Mapping[str, Any]) -> tuple[str, list[Layer]]:
    """Follow `extends` from a source to its root.

    Returns
    -------
    name : str
        Of the configuration: that of its file, or ``custom`` for a mapping.
    layers : list of Layer
        Root first, the source itself last.

    Raises
    ------
    ConfigError
        On an unknown parent, a circle, or a file that is not valid YAML.
    """
    if isinstance(source, Mapping):
        name, values, beside = "custom", dict(source), None
        layers, trail = [Layer("<mapping>", values)], ["<mapping>"]
    else:
        path = find_config(source)
        name, values, beside = path.stem, read_mapping(path), path.parent
        layers, trail = [Layer(str(path), values)], [str(path.resolve())]
    while (parent := layers[0].values.get("extends")) is not None:
        child = layers[0].source
        if not isinstance(parent, str):
            raise ConfigError(
                f"{child}: extends: expected the name of a configuration, "
                f"got {shorten(parent)}"
            )
        try:
            path = find_config(parent, beside)
        except ConfigError as err:
            raise ConfigError(f"{child}: extends: {err}") from err
        trail.append(str(path.resolve()))
        if trail[-1] in trail[:-1]:
            circle = " -> ".join(Path(step).stem for step in trail)
            raise ConfigError(f"{child}: extends: goes round in a circle: {circle}")
        beside = path.parent
        layers.insert(0, Layer(str(path), read_mapping(path)))
    return name, layers


@dataclass
class Merged:
    """The keys of all layers together, and the source of each dotted key."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


def merge(layers: list[Layer]) -> Merged:
    """Merge layers key by key, later ones over earlier ones."""
    merged = Merged()
    for layer in layers:
        merged.values = _over(merged.values, layer.values)
        merged.origins |= dict.fromkeys(_dotted(layer.values), layer.source)
    return merged


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(below)
    for key, value in above.items():
        inherited = result.get(key)
        if isinstance(value, Mapping) and isinstance(inherited, Mapping):
            result[key] = _over(_still_valid(str(key), inherited, value), value)
        else:
            result[key] = value
    return result


def _still_valid(
    key: str, inherited: Mapping[str, Any], value: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Drop from an inherited mapping what the child's form replaces."""
    drop: set[str] = set()
    forms = ALTERNATIVES.get(key, ())
    chosen = [form for form in forms if value.get(form) is not None]
    if chosen:
        drop |= set(forms) - set(chosen)
    if isinstance(value.get("files"), Mapping):
        drop.add("split")
    if key == "lr_schedule" and value.get("name", inherited.get("name")) != (
        inherited.get("name")
    ):
        return {}
    return {name: item for name, item in inherited.items() if name not in drop}


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{prefix}{key}.")
