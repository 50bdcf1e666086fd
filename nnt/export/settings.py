"""The text configuration that BASF2 loads with the weights of the classic chain.

Form and keys: ``trg/cdc/src/NeuroTriggerParameters.cc`` of BASF2. A key that is
missing there keeps an uninitialised value, so all are always written.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

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
from nnt.errors import ExportError, NNTError, shorten
from nnt.export.values import Row, Setting, Value, parse_lines, shown
from nnt.networks import DEFAULT_PRECISION, check_precision

__all__ = [
    "Settings",
    "chosen_settings",
    "default_settings",
    "parse_settings",
    "read_settings",
]

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 20

KEYS: Mapping[str, tuple[int, str]] = {
    "nInput": (0, "input nodes (for people: 27 * maxHitsPerSL counts)"),
    "nOutput": (0, "output nodes (for people: the targets count)"),
    "cutSum": (0, "ID ranges: cut on the sum of the left-out share (1) or not (0)"),
    "relevantCut": (0, "ID ranges: share that may be left out"),
    "rescaleTarget": (0, "targets beyond the output range: clip (1) or drop (0)"),
    "nMLP": (0, "networks (experts)"),
    "targetZ": (0, "1: z is an output"),
    "targetTheta": (0, "1: theta is an output"),
    "multiplyHidden": (0, "1: nHidden counts in multiples of the inputs"),
    "tMax": (0, "largest drift time (trigger ticks)"),
    "ETOption": (0, "event time: 7 is etfhwin, 6 etfcc, 0 fastestpriority"),
    "phiRangeUse": (2, "azimuth of the tracks that are served (deg)"),
    "IDRanges": (2, "expert, then lowest and highest relID of SL0 .. SL8 (wires)"),
    "thetaRangeUse": (2, "polar angle of the tracks that are served (deg)"),
    "invptRangeUse": (2, "charge / pt of the tracks that are served (1/GeV)"),
    "phiRangeTrain": (2, "azimuth of the tracks that were trained on (deg)"),
    "thetaRangeTrain": (2, "polar angle of the tracks that were trained on (deg)"),
    "invptRangeTrain": (2, "charge / pt of the tracks that were trained on (1/GeV)"),
    "nHidden": (2, "nodes of the hidden layers"),
    "maxHitsPerSL": (1, "track segments per superlayer"),
    "outputScale": (2, "z (cm) and theta (deg) that -1 and +1 stand for"),
    "SLpattern": (1, "superlayers of each expert, bit i is SL i"),
    "SLpatternMask": (1, "superlayers that choose the expert"),
    "precision": (1, "fractional bits: phi, factor, ID, nodes, weights, table"),
}
"""Key -> dimensions of its value, and what it means."""

DIMENSIONS: Mapping[str, int] = {
    key: dimensions for key, (dimensions, _) in KEYS.items()
}

RANGES = ("phiRange", "thetaRange", "invptRange")


class Settings(dict[str, Setting]):
    """A whole configuration, in the order in which it is written."""

    place = "BASF2's defaults"
    """The file that it was read from."""

    def number(self, key: str) -> float:
        """Give the value of a key that holds one number."""
        value = self[key].value
        if isinstance(value, tuple):
            raise ExportError(f"{key}: expected one number, found {shorten(value)}")
        return value

    def row(self, key: str, expert: int = 0) -> Row:
        """Give a list, or the row of a list of lists that serves an expert."""
        value = self[key].value
        if not isinstance(value, tuple) or not value:
            raise ExportError(f"{key}: expected a list, found {shorten(value)}")
        rows = tuple(item for item in value if isinstance(item, tuple))
        if not rows:
            return tuple(item for item in value if not isinstance(item, tuple))
        return rows[expert] if len(rows) > 1 else rows[0]

    def pattern(self, expert: int) -> int:
        """Give the superlayers that an expert reads, as bits."""
        patterns = self.row("SLpattern")
        return int(patterns[expert] if len(patterns) > 1 else patterns[0])

    def mask(self, expert: int) -> int:
        """Give the superlayers that choose an expert, as bits."""
        masks = self.row("SLpatternMask")
        return int(masks[expert] if len(masks) > 1 else masks[0])

    def id_limits(self, expert: int) -> Row:
        """Give the 18 limits of relID of an expert, from SL0 to SL8."""
        return self.row("IDRanges", expert)[1:]

    @property
    def precision(self) -> tuple[int, ...]:
        """Fractional bits of the firmware's arithmetic."""
        return tuple(int(bits) for bits in self.row("precision"))

    def changed(self, values: Mapping[str, Value]) -> Settings:
        """Give a copy with other values; locks stay."""
        return Settings(
            {
                key: replace(setting, value=values[key]) if key in values else setting
                for key, setting in self.items()
            }
        )

    def for_network(self, hidden: Row, n_outputs: int) -> Settings:
        """Give a copy that describes a trained network.

        Parameters
        ----------
        hidden : tuple of int
            Nodes of its hidden layers.
        n_outputs : int
            1: z; 2: z and theta.

        Raises
        ------
        ExportError
            The settings were made for other outputs than the network has.
        """
        scale = self.row("outputScale")
        if self["targetTheta"].value != n_outputs - 1 and len(scale) > 2 * n_outputs:
            scale = scale[: 2 * n_outputs]
        if len(scale) != 2 * n_outputs:
            raise ExportError(
                f"outputScale: expected {2 * n_outputs} limits for {n_outputs} "
                f"output(s), found {len(scale)}"
            )
        settings = self.changed(
            {
                "nInput": N_INPUTS,
                "nOutput": n_outputs,
                "nMLP": len(EXPERTS),
                "targetZ": 1,
                "targetTheta": n_outputs - 1,
                "multiplyHidden": 0,
                "nHidden": (hidden,),
                "outputScale": (scale,),
            }
        )
        settings.check()
        return settings

    def check(self) -> None:
        """Check what BASF2 checks on loading, and what it forgets.

        Raises
        ------
        ExportError
            BASF2 would refuse the file, or read another network from it.
        """
        for key in KEYS:
            if key not in self:
                raise ExportError(f"{key}: is missing")
        n_networks = self.number("nMLP")
        for key in ("SLpattern", "SLpatternMask"):
            if len(self.row(key)) not in (1, n_networks):
                raise ExportError(f"{key}: expected 1 or {n_networks:g} values")
        if self.row("maxHitsPerSL") != (1,):
            raise ExportError(
                "maxHitsPerSL: expected [1], one track segment per superlayer, found "
                f"{shown(self['maxHitsPerSL'].value)}"
            )
        self._check_id_ranges([float(k) for k in range(int(n_networks))])
        self._check_ranges()
        try:
            check_precision(self.precision)
        except NNTError as err:
            raise ExportError(str(err)) from err

    def _check_id_ranges(self, expected: list[float]) -> None:
        rows = self["IDRanges"].value
        if (
            not isinstance(rows, tuple)
            or [row[0] for row in rows if isinstance(row, tuple)] != expected
        ):
            raise ExportError(f"IDRanges: expected one row for each of {expected}")
        for k in range(len(rows)):
            limits = self.id_limits(k)
            if len(limits) != 2 * N_SUPERLAYERS or any(
                lower >= upper
                for lower, upper in zip(limits[::2], limits[1::2], strict=False)
            ):
                raise ExportError(
                    f"IDRanges: expert {k}: expected 9 pairs of a lower and an upper "
                    "limit"
                )

    def _check_ranges(self) -> None:
        for name in RANGES:
            used, trained = self.row(f"{name}Use"), self.row(f"{name}Train")
            if len(used) != 2 or len(trained) != 2:
                raise ExportError(f"{name}Use, {name}Train: expected rows of 2 limits")
            if trained[0] > used[0] or trained[1] < used[1]:
                raise ExportError(f"{name}Train must enclose {name}Use")

    def text(self) -> str:
        """Give the file that BASF2 loads."""
        lines = []
        for key, setting in self.items():
            meaning = KEYS[key][1] if key in KEYS else "from the given configuration"
            sign = "==" if setting.locked else "="
            lines += [f"# {meaning}", f"{key} {sign} {shown(setting.value)}"]
        return "\n".join(lines) + "\n"


def default_settings() -> Settings:
    """Give the settings of BASF2's own default, with NNT's detector constants."""
    limits = tuple(limit for pair in ID_RANGES for limit in pair)
    values: dict[str, Value] = {
        "nInput": N_INPUTS,
        "nOutput": N_TARGETS,
        "cutSum": 0,
        "relevantCut": 0.02,
        "rescaleTarget": 0,
        "nMLP": len(EXPERTS),
        "targetZ": 1,
        "targetTheta": 1,
        "multiplyHidden": 0,
        "tMax": T_MAX_TICKS,
        "ETOption": 7,
        "phiRangeUse": ((0, 360),),
        "IDRanges": tuple((k, *limits) for k in EXPERTS),
        "thetaRangeUse": (THETA_RANGE_DEG,),
        "invptRangeUse": ((-5, 5),),
        "phiRangeTrain": ((0, 360),),
        "thetaRangeTrain": (THETA_RANGE_DEG,),
        "invptRangeTrain": ((-5, 5),),
        "nHidden": ((N_HIDDEN,),),
        "maxHitsPerSL": (1,),
        "outputScale": ((*Z_RANGE_CM, *THETA_RANGE_DEG),),
        "SLpattern": EXPERT_PATTERNS,
        "SLpatternMask": (STEREO_PATTERN_MASK,),
        "precision": DEFAULT_PRECISION,
    }
    return Settings({key: Setting(value) for key, value in values.items()})


def chosen_settings(
    given: Settings | None,
    asked: tuple[int, ...] | None,
    trained: tuple[int, ...] | None,
) -> Settings:
    """Give the settings to write, with the precision that networks need.

    Parameters
    ----------
    given : Settings, optional
        Those of the training data; default: `default_settings`.
    asked, trained : tuple of 6 int, optional
        Precision that was asked for, and else that for which networks were trained.

    Raises
    ------
    ExportError
        BASF2 would refuse the settings.
    """
    base = given if given is not None else default_settings()
    if asked is None and trained is not None and base.precision != trained:
        if given is not None:
            log.warning(
                "precision: the networks were trained for %s, which replaces %s of "
                "the settings; --precision chooses another",
                list(trained),
                list(given.precision),
            )
        asked = trained
    settings = base if asked is None else base.changed({"precision": asked})
    settings.check()
    return settings


def read_settings(path: Path) -> Settings:
    """Read a configuration of BASF2; keys that it lacks get their default.

    Raises
    ------
    ExportError
        It cannot be read, or a value is not of the kind that its key has.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ExportError(
                f"{path}: expected a configuration, found a file larger than 1 MB; "
                "check the path"
            )
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise ExportError(f"{path}: cannot be read ({err}); check the path") from err
    given = parse_settings(content, str(path))
    settings = Settings({**default_settings(), **given})
    settings.place = str(path)
    return settings


def parse_settings(
    content: str, place: str, dimensions: Mapping[str, int] = DIMENSIONS
) -> Settings:
    """Read the text of a configuration; arguments are those of `parse_lines`.

    Raises
    ------
    ExportError
        A value is not of the kind that its key has, or a locked one comes again.
    """
    return Settings(parse_lines(content, place, dimensions))
