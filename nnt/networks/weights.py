"""``weights.json``, the form in which weights leave NNT and come back.

The keys are those that BASF2's converter reads (``trgcdc_neurorootconverter``);
it ignores the keys `model`, `act`, `outputs`, `chain` and `precision` that NNT adds,
so that a file explains itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnt.detector import N_INPUTS
from nnt.errors import ConfigError, DataError, shorten
from nnt.files import write_atomically
from nnt.networks.form import MAX_NODES, PLAIN_MODEL, Form, State
from nnt.types import F32

CLASSIC, HOUGH3D = CHAINS = ("classic", "3dh")
"""The trigger chains that networks serve."""

PREFIX = "model."
MAX_BYTES = 160 << 20
"""Five experts of five hidden layers with 512 nodes take 125 MB."""
MAX_DIMENSIONS = 2
UNNAMED_OUTPUTS = (("z",), ("z", "theta"))
"""What a file without the key `outputs` holds, by the number of its output nodes."""

DEFAULT_PRECISION = (12, 8, 8, 12, 10, 10)
"""Fractional bits of phi and alpha, the factor from radians to wires, the
reference ID, the nodes, the weights, and the argument of the tanh table."""

MAX_BITS = 30
MAX_TABLE_BITS = 20
"""The table has about ten times two to the power of these entries."""


@dataclass(frozen=True, slots=True, eq=False)
class ExpertWeights:
    """The weights of one expert, with what is needed to run them.

    Raises
    ------
    DataError
        The weights are not those of a network of this form.
    """

    state: State
    form: Form
    precision: tuple[int, ...] | None = None
    """Fractional bits of the firmware for which it was trained, if it was."""
    chain: str = CLASSIC
    """The trigger chain whose inputs it takes, one of `CHAINS`."""
    names_activation: bool = True
    """False for a file that does not: the form has that of the firmware then."""

    def __post_init__(self) -> None:
        expected = self.form.shapes
        found = {name: np.shape(value) for name, value in self.state.items()}
        for name in (*expected, *found):
            if expected.get(name) != found.get(name):
                raise DataError(
                    f"the weights do not fit {self.form}: shape of {shorten(name)}: "
                    f"expected {expected.get(name, 'none')}, "
                    f"found {found.get(name, 'none')}"
                )


def weights_text(
    experts: Mapping[int, ExpertWeights], place: str = "weights.json"
) -> bytes:
    """Give the content of a file from which every float32 comes back exactly.

    Raises
    ------
    DataError
        A number is not finite, or an array is not float32; `place` begins the message.
    """
    for k, expert in experts.items():
        for name, array in expert.state.items():
            if array.dtype != np.float32 or not np.isfinite(array).all():
                raise DataError(
                    f"{place}: expert_{k}: {name}: expected finite float32 numbers to "
                    f"write, found {array.dtype} or numbers that are not finite"
                )
    value = {f"expert_{k}": _plain(expert) for k, expert in sorted(experts.items())}
    return (json.dumps(value, allow_nan=False) + "\n").encode()


def write_weights(path: str | Path, experts: Mapping[int, ExpertWeights]) -> None:
    """Write `weights_text`, all of it or none."""
    write_atomically(Path(path), weights_text(experts, str(path)))


def _plain(expert: ExpertWeights) -> dict[str, Any]:
    # A float32 is exactly a float64, and JSON numbers are those.
    plain: dict[str, Any] = {
        "shapes": {PREFIX + n: list(v.shape) for n, v in expert.state.items()},
        "weights": {PREFIX + n: v.tolist() for n, v in expert.state.items()},
        "model": expert.form.model,
        "act": expert.form.activation if expert.names_activation else None,
    }
    if expert.form.outputs not in UNNAMED_OUTPUTS:
        plain["outputs"] = list(expert.form.outputs)
    if expert.chain != CLASSIC:
        plain["chain"] = expert.chain
    if expert.precision is not None:
        plain["precision"] = list(expert.precision)
    return plain


def read_weights(source: str | Path | bytes) -> dict[int, ExpertWeights]:
    """Read a ``weights.json``.

    Parameters
    ----------
    source : path or bytes
        A file, or its content.

    Raises
    ------
    DataError
        It is not of the form that `write_weights` writes.
    """
    place = "weights.json" if isinstance(source, bytes) else str(source)
    try:
        content = source
        if not isinstance(content, bytes):
            with Path(content).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except OSError as err:
        raise DataError(
            f"{place}: cannot be read ({err.strerror}); check the path"
        ) from err
    if len(content) > MAX_BYTES:
        raise DataError(
            f"{place}: {len(content):,} bytes; expected at most {MAX_BYTES:,}"
        )
    try:
        value = json.loads(content, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as err:
        raise DataError(f"{place}: expected JSON, found other data ({err})") from err
    if not isinstance(value, dict) or not value:
        raise DataError(f"{place}: expected an object with keys expert_0 .. expert_4")
    valid = {f"expert_{k}": k for k in range(-1, 5)}
    for key in value:
        if key not in valid:
            raise DataError(
                f"{place}: expected keys {sorted(valid)}, found {shorten(key)}"
            )
    return {valid[key]: _expert(own, f"{place}: {key}") for key, own in value.items()}


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key appears twice in one object")
    return value


def _expert(value: Any, place: str) -> ExpertWeights:
    if not isinstance(value, dict) or not isinstance(value.get("weights"), dict):
        raise DataError(f"{place}: expected an object with the key 'weights'")
    if not value["weights"]:
        raise DataError(f"{place}: weights: expected at least one array, found none")
    try:
        state = _state(value["weights"], value.get("shapes", {}))
        form, bits = _form(state, value), value.get("precision")
        if bits is not None:
            bits = check_precision(bits if isinstance(bits, list) else [bits])
        return ExpertWeights(
            state,
            form,
            bits,
            chain=_chain(value.get("chain"), form),
            names_activation=value.get("act") is not None,
        )
    except (ConfigError, DataError) as err:
        raise DataError(f"{place}: {err}") from err


def _state(weights: dict[str, Any], shapes: Any) -> State:
    if not isinstance(shapes, dict) or (shapes and shapes.keys() != weights.keys()):
        raise DataError("shapes: expected one for each array of 'weights'")
    state: State = {}
    for name, rows in weights.items():
        array = _array(rows, f"weights: {shorten(name)}")
        if shapes and shapes[name] != list(array.shape):
            raise DataError(
                f"{shorten(name)}: expected shape {shorten(shapes[name])} as in "
                f"'shapes', found {list(array.shape)}"
            )
        if (key := name.removeprefix(PREFIX)) in state:
            raise DataError(f"weights: {shorten(key)} appears twice")
        state[key] = array
    return state


def _form(state: State, value: dict[str, Any]) -> Form:
    model, act = value.get("model", PLAIN_MODEL), value.get("act")
    if not isinstance(model, str) or not isinstance(act, str | None):
        raise DataError("model, act: expected names")
    outputs = value.get("outputs")
    if outputs is not None and not (
        isinstance(outputs, list) and all(isinstance(name, str) for name in outputs)
    ):
        raise DataError(f"outputs: expected a list of names, found {shorten(outputs)}")
    shapes = {name: array.shape for name, array in state.items()}
    named = {} if act is None else {"activation": act}
    return Form.of_shapes(shapes, outputs=outputs, model=model, **named)


def _chain(name: Any, form: Form) -> str:
    if name is None:
        return CLASSIC if form.inputs == N_INPUTS else HOUGH3D
    if name not in CHAINS:
        raise DataError(f"chain: expected {' or '.join(CHAINS)}, found {shorten(name)}")
    return str(name)


def _array(rows: Any, place: str) -> F32:
    expected = f"{place}: expected finite float32 numbers in rows of equal length"
    try:
        # As objects: NumPy would take "1" and true for numbers.
        values = np.asarray(rows, dtype=object)
        if strange := set(map(type, values.ravel().tolist())) - {int, float}:
            names = sorted(kind.__name__ for kind in strange)
            raise DataError(f"{expected}, found {', '.join(names)}")
        with np.errstate(over="ignore"):
            array = values.astype(np.float64).astype(np.float32)
    except (ValueError, OverflowError) as err:
        raise DataError(f"{expected} ({err})") from err
    if not np.isfinite(array).all():
        raise DataError(expected)
    if array.ndim > MAX_DIMENSIONS or not all(1 <= n <= MAX_NODES for n in array.shape):
        raise DataError(
            f"{place}: expected rows or columns of 1 to {MAX_NODES} numbers in at most "
            f"{MAX_DIMENSIONS} dimensions, found an array of shape {array.shape}"
        )
    return array


def check_precision(precision: Sequence[int]) -> tuple[int, ...]:
    """Six counts of fractional bits, checked.

    Raises
    ------
    DataError
        There are not six, one is outside 0 .. 30 (0 .. 20 for the table), or there
        are more for the table than a sum has.
    """
    bits = tuple(precision)
    whole = all(isinstance(b, int | np.integer) for b in bits)
    if len(bits) != 6 or not whole or not all(0 <= b <= MAX_BITS for b in bits):
        raise DataError(
            f"precision: expected 6 counts of bits from 0 to {MAX_BITS}, found "
            f"{shorten(bits)}"
        )
    most, why = min((bits[3] + bits[4], " (nodes + weights)"), (MAX_TABLE_BITS, ""))
    if bits[5] > most:
        raise DataError(
            f"precision: expected at most {most} bits for the table{why}, found "
            f"{bits[5]}"
        )
    return tuple(int(b) for b in bits)
