"""Files for deployment, each read back and checked before it is handed out.

Source of the forms: the readers of BASF2 (``trg/cdc``); see ``docs/deployment.md``.
Names other than `TARGETS` are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from nnt.export.targets import TARGETS as TARGETS

if TYPE_CHECKING:
    from nnt.export.files import export as export
    from nnt.export.payload import Payload as Payload
    from nnt.export.payload import read_payload as read_payload
    from nnt.export.settings import Settings as Settings
    from nnt.export.settings import read_settings as read_settings
    from nnt.export.source import Source as Source
    from nnt.export.source import load_source as load_source

_HOME = {
    "Payload": "payload",
    "Settings": "settings",
    "Source": "source",
    "export": "files",
    "load_source": "source",
    "read_payload": "payload",
    "read_settings": "settings",
}

__all__ = ["TARGETS", *_HOME]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"nnt.export.{_HOME[name]}"), name)
    raise AttributeError(f"module 'nnt.export' has no attribute {name!r}")
