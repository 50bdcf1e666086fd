"""What can be exported: one record a target, read by the command and by `export`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnt.export.source import Report, Request

    Write = Callable[[Request, Path], Report]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Something that networks are handed over to."""

    help: str
    """One line for people."""
    writer: str
    """``module:function`` that writes the files into a folder and reads them back."""
    takes_precision: bool
    """Whether the bits of the classic chain can be chosen for it."""
    takes_settings: bool = True
    """Whether a configuration of BASF2 has a say in it, be it by the precision."""
    holds_settings: bool = False
    """Whether ID ranges, patterns or scales of that configuration go into its files."""
    takes_payload: bool = False
    """Whether it can have a file for BASF2's database."""
    computes_outputs: bool = False
    """Whether its files compute outputs, so that these can be kept in a word."""

    def load(self) -> Write:
        """Import the writer."""
        module, _, function = self.writer.partition(":")
        write: Write = getattr(importlib.import_module(module), function)
        return write


TARGETS: Mapping[str, Target] = {
    "json": Target(
        help="weights.json for BASF2's trgcdc_neurorootconverter",
        writer="nnt.export.firmware_files:write_json",
        takes_precision=True,
    ),
    "basf2": Target(
        help="the same, and the configuration that goes with it",
        writer="nnt.export.firmware_files:write_basf2",
        takes_precision=True,
        takes_payload=True,
        holds_settings=True,
    ),
    "fpga": Target(
        help="integer weights as plain text",
        writer="nnt.export.firmware_files:write_fpga",
        takes_precision=True,
        holds_settings=True,
    ),
    "3dh": Target(
        help="weights, configuration and integers of the 3D Hough chain",
        writer="nnt.export.firmware_files:write_3dh",
        takes_precision=False,
        takes_settings=False,
    ),
    "onnx": Target(
        help="graphs for other software, in floats and in the firmware's integers",
        writer="nnt.export.onnx_files:write_onnx",
        takes_precision=True,
        computes_outputs=True,
    ),
}
"""Target -> what is known of it."""
