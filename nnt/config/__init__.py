"""Configurations: YAML files, inheritance, overrides, frozen dataclasses."""

from __future__ import annotations

from nnt.config.build import load_config, resolve
from nnt.config.files import config_files
from nnt.config.plain import flatten
from nnt.config.schema import Config, DataConfig, LRSchedule, Quantization

__all__ = [
    "Config",
    "DataConfig",
    "LRSchedule",
    "Quantization",
    "config_files",
    "flatten",
    "load_config",
    "resolve",
]
