"""``payload.conf``: what BASF2's tool needs to write networks into its database.

Form: ``trg-cdc-neurotrigger-writedb`` of BASF2, lines ``key = "value"``. It takes what
stands between the first two double quotes of a line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnt.errors import ExportError
from nnt.export.settings import Settings, shown
from nnt.files import read_text

PAYLOAD_FILE = "payload.conf"
NETWORKS_FILE = "networks.root"
"""What BASF2's converter makes of the exported files."""
MAX_TEXT = 255
OPEN = -1
"""An end of validity that is not known yet."""
OF_THE_FIRMWARE = ("fwname", "fwnote")
BIT_FIELD = "addb2formatline"
LINE = re.compile(r'\s*(?P<key>\w+)\s*=\s*"(?P<value>[^"]*)"\s*')
BIT_LINE = re.compile(rf"\s*{BIT_FIELD}\s*=\s*\(.*\)\s*")
WITHOUT_FINDER = ("0", "1")
"""Options of the event time that take the fastest hit, not the event time finder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Payload:
    """For which runs of the experiment networks are, and in which firmware they run.

    Raises
    ------
    ExportError
        The interval has no beginning before its end.
    """

    first: tuple[int, int]
    """Experiment and run from which on they are valid."""
    last: tuple[int, int] = (OPEN, OPEN)
    """Experiment and run up to which; -1 for no end."""
    firmware: Mapping[str, str] = field(default_factory=dict)
    """``fwname`` and ``fwnote`` of the firmware."""
    bit_fields: Sequence[str] = ()
    """Lines of the bit fields of the firmware, as they are."""

    def __post_init__(self) -> None:
        if min(self.first) < 0 or min(self.last) < OPEN:
            raise ExportError(
                f"validity: expected experiments and runs from 0 on (-1: no end), "
                f"found {self.first} to {self.last}"
            )
        experiment, run = self.last
        if experiment == OPEN and run != OPEN:
            raise ExportError(
                "validity: expected -1 as last run where the last experiment is -1, "
                f"found {self.last}"
            )
        end = tuple(math.inf if number == OPEN else number for number in self.last)
        if end < self.first:
            raise ExportError(f"validity: {self.last} lies before {self.first}")


def read_payload(
    first: tuple[int, int], last: tuple[int, int] | None, earlier: Path | None
) -> Payload:
    """Take the validity as given, and the firmware from an earlier ``payload.conf``.

    Raises
    ------
    ExportError
        The earlier file cannot be read, or the interval is none.
    """
    firmware, bit_fields = {}, []
    if earlier is not None:
        lines = read_text(earlier, ExportError).splitlines()
        values = parse_payload(lines)
        firmware = {key: values[key] for key in OF_THE_FIRMWARE if key in values}
        bit_fields = [line.strip() for line in lines if BIT_LINE.fullmatch(line)]
        if not firmware and not bit_fields:
            raise ExportError(
                f"{earlier}: expected lines of fwname, fwnote or {BIT_FIELD}, found "
                "none"
            )
    last = last or (OPEN, OPEN)
    return Payload(first=first, last=last, firmware=firmware, bit_fields=bit_fields)


def parse_payload(lines: Sequence[str]) -> dict[str, str]:
    """Read the lines ``key = "value"``; others are left out."""
    found = [LINE.fullmatch(line) for line in lines]
    return {match["key"]: match["value"] for match in found if match}


def payload_values(
    payload: Payload, facts: Mapping[str, str], settings: Settings
) -> dict[str, str]:
    """What the file says, by key; `facts` are those of the manifest."""
    event_time = shown(settings.values["ETOption"])
    (experiment, run), (last_experiment, last_run) = payload.first, payload.last
    name = facts.get("run_name", "weights")
    short = facts.get("run_id", facts.get("weights_sha256", ""))[:8]
    noted = ("run_id", "config", "git_commit", "data_digest", "weights_sha256")
    note = ", ".join(f"{key} {facts[key]}" for key in noted if key in facts)
    values = {
        "nniov_exp_start": experiment,
        "nniov_exp_end": last_experiment,
        "nniov_run_start": run,
        "nniov_run_end": last_run,
        "nnname": f"{name} {short}".strip()[:MAX_TEXT],
        "nnpath": NETWORKS_FILE,
        "nnnote": note,
        **{key: payload.firmware.get(key, "") for key in OF_THE_FIRMWARE},
        "ppbool": str(event_time not in WITHOUT_FINDER).lower(),
        "ppnote": f"event time: ETOption {event_time}",
    }
    # A double quote would end a value.
    return {k: " ".join(str(v).replace('"', "'").split()) for k, v in values.items()}
