"""Files for deployment, each read back and checked before it is handed out.

Source of the forms: the readers of BASF2 (``trg/cdc``); see ``docs/deployment.md``.
"""

from __future__ import annotations

from nnt.export.files import export, load_source
from nnt.export.payload import Payload, read_payload
from nnt.export.settings import Settings, read_settings
from nnt.export.source import Source
from nnt.export.targets import TARGETS

__all__ = [
    "TARGETS",
    "Payload",
    "Settings",
    "Source",
    "export",
    "load_source",
    "read_payload",
    "read_settings",
]
