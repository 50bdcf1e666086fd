"""YAML files: where they are, and the parents that each extends."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from nnt.config.merging import Layer
from nnt.config.yaml_text import ABSENT_WORDS, read_yaml, shown
from nnt.errors import ConfigError, did_you_mean, shorten
from nnt.files import expand_path

__all__ = ["config_files", "find_config", "read_layers"]

MAX_BYTES = 1_000_000


def directories() -> list[Path]:
    """List where names of configurations are looked up, in this order."""
    beside_package = Path(__file__).resolve().parents[2] / "configs"
    return [Path("configs"), beside_package]


def config_files() -> dict[str, Path]:
    """Find every configuration that has a name: name -> file, sorted.

    Hidden files are none: editors and network disks leave ``.#x.yaml`` and
    ``._x.yaml`` beside ``x.yaml``.
    """
    found: dict[str, Path] = {}
    for directory in reversed(directories()):
        found |= {
            path.stem: path
            for path in directory.glob("*.yaml")
            if not path.name.startswith(".") and not path.is_dir()
        }
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
        places = [Path(expand_path(text))]
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
    if text in ABSENT_WORDS:
        raise ConfigError(
            f"no configuration {shorten(text)}; in YAML, write null for none"
        )
    raise ConfigError(
        f"no configuration {shorten(text)}; " + did_you_mean(text, config_files())
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the keys of one file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: expected at most {MAX_BYTES:,} bytes of YAML")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as err:
        raise ConfigError(f"{path}: cannot be read: {err.strerror}") from err
    except UnicodeDecodeError as err:
        line = err.object.count(b"\n", 0, err.start) + 1
        raise ConfigError(
            f"{path}: line {line}: expected UTF-8, found the byte "
            f"{err.object[err.start]:#04x}; save the file as UTF-8"
        ) from err
    value = _parsed(text, str(path))
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
                f"got {shown(parent)}"
            )
        try:
            path = find_config(parent, beside)
        except ConfigError as err:
            raise ConfigError(f"{child}: extends: {err}") from err
        trail.append(str(path.resolve()))
        if trail[-1] in trail[:-1]:
            circle = " -> ".join(Path(step).stem for step in trail)
            raise ConfigError(f"{child}: extends: circular: {circle}")
        beside = path.parent
        layers.insert(0, Layer(str(path), read_mapping(path)))
    return name, layers
