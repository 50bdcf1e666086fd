"""What can be exported: one record a target, read by the command and by `export`."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Collection, Mapping
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
    takes: Collection[str] = ()
    """Fields of `nnt.export.source.Request` that have a say in it."""
    holds_settings: bool = False
    """Whether ID ranges, patterns or scales of the settings go into its files."""

    def load(self) -> Write:
        """Import the writer."""
        write: Write = pkgutil.resolve_name(self.writer)
        return write


TARGETS: Mapping[str, Target] = {
    "json": Target(
        help="weights.json for BASF2's trgcdc_neurorootconverter",
        writer="nnt.export.firmware_files:write_json",
        takes=("settings", "precision"),
    ),
    "basf2": Target(
        help="the same, and the configuration that goes with it",
        writer="nnt.export.firmware_files:write_basf2",
        takes=("settings", "precision", "payload"),
        holds_settings=True,
    ),
    "fpga": Target(
        help="integer weights as plain text",
        writer="nnt.export.firmware_files:write_fpga",
        takes=("settings", "precision"),
        holds_settings=True,
    ),
    "3dh": Target(
        help="weights, configuration and integers of the 3D Hough chain",
        writer="nnt.export.firmware_files:write_3dh",
    ),
    "onnx": Target(
        help="graphs for other software, in floats and in the firmware's integers",
        writer="nnt.export.onnx_files:write_onnx",
        takes=("settings", "precision", "saturate_13_bit"),
    ),
}
"""Target -> what is known of it."""
