"""Configurations: YAML files, inheritance, overrides, frozen models."""

from __future__ import annotations

from nnt.config.files import config_files
from nnt.config.load import load_config, resolve
from nnt.config.parts import (
    SPLITS,
    Classes,
    DataConfig,
    LRSchedule,
    Quantization,
)
from nnt.config.schema import Config
from nnt.config.yaml_text import as_yaml, flatten

__all__ = [
    "SPLITS",
    "Classes",
    "Config",
    "DataConfig",
    "LRSchedule",
    "Quantization",
    "as_yaml",
    "config_files",
    "flatten",
    "load_config",
    "resolve",
]
