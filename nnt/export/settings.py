"""The text configuration that BASF2 loads with the weights of the classic chain.

Form and keys: ``trg/cdc/src/NeuroTriggerParameters.cc`` of BASF2. A key that is
missing there keeps an uninitialised value, so all are always written.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnt.detector import (
    EXPERT_PATTERNS,
    EXPERTS,
    ID_RANGES,
    N_HIDDEN,
    N_INPUTS,
    N_SUPERLAYERS,
    N_TARGETS,
    STEREO_PATTERN_MASK,
    T_MAX_TICKS,
    THETA_RANGE_DEG,
    Z_RANGE_CM,
)
from nnt.errors import ExportError, shorten
from nnt.files import read_text
from nnt.networks import DEFAULT_PRECISION, check_precision

Row = tuple[float, ...]
Value = float | Row | tuple[Row, ...]

EARLIER_NAMES = {
    "maxHitsperSL": "maxHitsPerSL",
    "SLPattern": "SLpattern",
    "SLPatternMask": "SLpatternMask",
}


KEYS: Mapping[str, tuple[Value, str]] = {
    "nInput": (N_INPUTS, "input nodes (for people: 27 * maxHitsPerSL counts)"),
    "nOutput": (N_TARGETS, "output nodes (for people: the targets count)"),
    "cutSum": (0, "ID ranges: cut on the sum of the left-out share (1) or not (0)"),
    "relevantCut": (0.02, "ID ranges: share that may be left out"),
    "rescaleTarget": (0, "targets beyond the output range: clip (1) or drop (0)"),
    "nMLP": (len(EXPERTS), "networks (experts)"),
    "targetZ": (1, "1: z is an output"),
    "targetTheta": (1, "1: theta is an output"),
    "multiplyHidden": (0, "1: nHidden counts in multiples of the inputs"),
    "tMax": (T_MAX_TICKS, "largest drift time (trigger ticks)"),
    "ETOption": (7, "event time: 7 is etfhwin, 6 etfcc, 0 fastestpriority"),
    "phiRangeUse": (((0, 360),), "azimuth of the tracks that are served (deg)"),
    "IDRanges": (
        tuple((k, *itertools.chain(*ID_RANGES)) for k in EXPERTS),
        "expert, then lowest and highest relID of SL0 .. SL8 (wires)",
    ),
    "thetaRangeUse": (
        (THETA_RANGE_DEG,),
        "polar angle of the tracks that are served (deg)",
    ),
    "invptRangeUse": (((-5, 5),), "charge / pt of the tracks that are served (1/GeV)"),
    "phiRangeTrain": (((0, 360),), "azimuth of the tracks that were trained on (deg)"),
    "thetaRangeTrain": (
        (THETA_RANGE_DEG,),
        "polar angle of the tracks that were trained on (deg)",
    ),
    "invptRangeTrain": (
        ((-5, 5),),
        "charge / pt of the tracks that were trained on (1/GeV)",
    ),
    "nHidden": (((N_HIDDEN,),), "nodes of the hidden layers"),
    "maxHitsPerSL": ((1,), "track segments per superlayer"),
    "outputScale": (
        ((*Z_RANGE_CM, *THETA_RANGE_DEG),),
        "z (cm) and theta (deg) that -1 and +1 stand for",
    ),
    "SLpattern": (EXPERT_PATTERNS, "superlayers of each expert, bit i is SL i"),
    "SLpatternMask": ((STEREO_PATTERN_MASK,), "superlayers that choose the expert"),
    "precision": (
        DEFAULT_PRECISION,
        "fractional bits: phi, factor, ID, nodes, weights, table",
    ),
}
"""Key -> its default, that of BASF2 with NNT's detector constants, and its meaning."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration, in the order in which it is written."""

    values: Mapping[str, Value]
    locked: frozenset[str] = frozenset()
    """Keys that BASF2 must not change: they are written as ``key == value``."""
    place: str = "BASF2's defaults"
    """The file that it was read from."""

    def row(self, key: str, expert: int = 0) -> Row:
        """Give a list, or the row of a list of lists that serves an expert."""
        value: Any = self.values[key]
        rows = value if _depth(value) == 2 else (value,)
        row: Row = rows[expert if len(rows) > 1 else 0]
        return row

    def superlayers(self, key: str, expert: int) -> int:
        """Give an expert's number of a list: SLpattern or SLpatternMask, as bits."""
        values = self.row(key)
        return int(values[expert] if len(values) > 1 else values[0])

    def id_limits(self, expert: int) -> Row:
        """Give the 18 limits of relID of an expert, from SL0 to SL8."""
        return self.row("IDRanges", expert)[1:]

    @property
    def precision(self) -> tuple[int, ...]:
        """Fractional bits of the firmware's arithmetic."""
        return tuple(int(bits) for bits in self.row("precision"))

    def changed(self, values: Mapping[str, Value]) -> Settings:
        """Give a copy with other values; locks stay."""
        return replace(self, values={**self.values, **values})

    def for_network(self, hidden: Row, n_outputs: int) -> Settings:
        """Give a copy that describes a trained network, 1: of z, 2: of z and theta.

        Raises
        ------
        ExportError
            The settings were made for other outputs than the network has.
        """
        scale = self.row("outputScale")
        if self.values["targetTheta"] != n_outputs - 1:
            scale = scale[: 2 * n_outputs]
        if len(scale) != 2 * n_outputs:
            raise ExportError(
                f"outputScale: expected {2 * n_outputs} limits for {n_outputs} "
                f"output(s), found {len(scale)}"
            )
        return self.changed(
            {
                "nInput": N_INPUTS,
                "nOutput": n_outputs,
                "targetZ": 1,
                "targetTheta": n_outputs - 1,
                "multiplyHidden": 0,
                "nHidden": (hidden,),
                "outputScale": (scale,),
            }
        )

    def check(self) -> None:
        """Check what BASF2 checks on loading, and what it forgets.

        Raises
        ------
        ExportError, DataError
            BASF2 would refuse the file, or read another network from it.
        """
        if missing := [key for key in KEYS if key not in self.values]:
            raise ExportError(f"{missing[0]}: is missing")
        for key, only, what in (
            ("nMLP", len(EXPERTS), "the number of experts"),
            ("maxHitsPerSL", (1,), "one track segment per superlayer"),
        ):
            if (found := self.values[key]) != only:
                raise ExportError(
                    f"{key}: expected {shown(only)}, {what}, found {shown(found)}"
                )
        for key in ("SLpattern", "SLpatternMask"):
            if len(self.row(key)) not in (1, len(EXPERTS)):
                raise ExportError(f"{key}: expected 1 or {len(EXPERTS)} values")
        self._check_id_ranges()
        for name in ("phiRange", "thetaRange", "invptRange"):
            used, trained = self.row(f"{name}Use"), self.row(f"{name}Train")
            if len(used) != 2 or len(trained) != 2:
                raise ExportError(f"{name}Use, {name}Train: expected rows of 2 limits")
            if trained[0] > used[0] or trained[1] < used[1]:
                raise ExportError(f"{name}Train must enclose {name}Use")
        check_precision(self.precision)

    def _check_id_ranges(self) -> None:
        rows: Any = self.values["IDRanges"]
        if [row[0] for row in rows] != list(EXPERTS):
            raise ExportError(f"IDRanges: expected one row for each of {list(EXPERTS)}")
        for k, (_, *limits) in enumerate(rows):
            pairs = zip(limits[::2], limits[1::2], strict=False)
            are_pairs = all(lower < upper for lower, upper in pairs)
            if len(limits) != 2 * N_SUPERLAYERS or not are_pairs:
                raise ExportError(
                    f"IDRanges: expert {k}: expected 9 pairs of a lower and an upper "
                    "limit"
                )

    def text(self) -> str:
        """Give the file that BASF2 loads."""
        lines = []
        for key, value in self.values.items():
            meaning = KEYS[key][1] if key in KEYS else "from the given configuration"
            sign = "==" if key in self.locked else "="
            lines += [f"# {meaning}", f"{key} {sign} {shown(value)}"]
        return "\n".join(lines) + "\n"


def default_settings() -> Settings:
    """Give the settings of BASF2's own default, with NNT's detector constants."""
    return Settings({key: value for key, (value, _) in KEYS.items()})


def read_settings(path: Path) -> Settings:
    """Read a configuration of BASF2; keys that it lacks get their default.

    Raises
    ------
    ExportError
        It cannot be read, or a value is not of the kind that its key has.
    """
    given = parse_settings(read_text(path, ExportError), str(path))
    return replace(given, values={**default_settings().values, **given.values})


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, tuple) else 0


DEPTHS = {key: _depth(value) for key, (value, _) in KEYS.items()}
"""What the value of each key is: a number (0), a list (1), or a list of lists (2)."""


def parse_settings(
    content: str, place: str, depths: Mapping[str, int] = DEPTHS
) -> Settings:
    """Read the lines of a configuration, ``key = value``, as BASF2 does.

    Messages name its `place`.

    Raises
    ------
    ExportError
        A value is not of the kind that its key has, or a locked one comes again.
    """
    values: dict[str, Value] = {}
    locked = set()
    for number, line in enumerate(content.splitlines(), start=1):
        bare = "".join(line.split("#")[0].split())
        if len(bare) < 3 or "=" not in bare:
            continue
        key, text = bare.split("=", 1)
        key = EARLIER_NAMES.get(key, key)
        where = f"{place}:{number}: {key[:40]}"
        if key in locked:
            raise ExportError(f"{where}: was locked (==) by an earlier line")
        if text.startswith("="):
            locked.add(key)
        values[key] = _value(text.removeprefix("="), depths.get(key), where)
    return Settings(values, frozenset(locked), place)


def _value(text: str, depth: int | None, place: str) -> Any:
    found = _parsed(text, place)
    # Earlier files hold the one row of outputScale as a plain list.
    if depth == 2 and _depth(found) == 1:
        found = (found,)
    if depth is not None and _depth(found) != depth:
        kinds = ("one number", "a list [a, b]", "a list of lists [[a, b], [c, d]]")
        raise ExportError(f"{place}: expected {kinds[depth]}, found {shorten(text)}")
    return found


def _parsed(text: str, place: str) -> Any:
    """Read a number, a list, or a list of lists."""
    if text.startswith("[[") and text.endswith("]]"):
        return tuple(_row(row, place) for row in text[2:-2].split("],["))
    if text.startswith("[") and text.endswith("]"):
        return _row(text[1:-1], place)
    return _number(text, place)


def _row(text: str, place: str) -> Row:
    return tuple(_number(part, place) for part in text.split(","))


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ExportError(f"{place}: expected a number, found {shorten(text)}")
    return value


def shown(value: Value) -> str:
    """Show a value as BASF2 reads it, exactly, whole numbers without a point."""
    if isinstance(value, tuple):
        return f"[{','.join(map(shown, value))}]"
    is_whole = float(value).is_integer() and abs(value) < 2**53
    return str(int(value)) if is_whole else repr(float(value))
