"""Files for deployment, each read back and checked before it is handed out.

Source of the forms: the readers of BASF2 (``trg/cdc``); see ``docs/deployment.md``.
"""

from nnt.export.files import TARGETS, export
from nnt.export.settings import Settings, read_settings
from nnt.export.source import Source

__all__ = ["TARGETS", "Settings", "Source", "export", "read_settings"]
