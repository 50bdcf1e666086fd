"""Bad inputs for everything that NNT reads, and what it makes of them."""

from __future__ import annotations

import gzip
import json
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np

from nnt import filters, load_config, read_tracks
from nnt.config import Config
from nnt.engine import Epoch
from nnt.engine.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from nnt.errors import NNTError
from nnt.export import read_settings
from nnt.networks import (
    ExpertWeights,
    Form,
    Networks,
    initial_state,
    read_weights,
    write_weights,
)
from nnt.simulation import simulate
from nnt.tracking import open_run
from nnt.tracks import summarise, write_tracks

MAX_SECONDS = 20
MAX_MEMORY_BYTES = 2 << 30
"""Above what the process has when an input comes."""
MAX_MESSAGE = 5000

TOKENS = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\n\n", b"\t",
    b"\t\t", b"nan", b"-inf", b"1e400", b"-1e400", b"9" * 30, b"9" * 5000,
    b"0x" + b"f" * 5000, b"1:" * 300 + b"1", b"1_0", b"-0", b"\x1f\x8b", b"[" * 300,
    b"{" * 300, b"(" * 300, b"..", b"/../../etc/passwd", b"~nobody/", b"!!int x",
    b"&a ", b"*a", b"<<: ", b"? ", b"%00", b"\\ud800",
    b"null", b"true", b"'", b'"', b"#", b"=",
    b"__class__", b"lambda: 0", b"!!python/object/apply:os.system ['true']",
    b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "\N{ARABIC-INDIC DIGIT THREE}".encode(),
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """One way for bytes to come in."""

    name: str
    valid: list[bytes]
    """What it takes; bad inputs are made from these."""
    read: Callable[[bytes], object]
    """Raises `NNTError` for what it does not take."""


def readers(work: Path) -> list[Reader]:
    """Everything that reads what comes from outside; `work` is for its files."""
    table = simulate(tracks=40, seed=1)
    write_tracks(table, work / "rows.txt")
    rows = (work / "rows.txt").read_bytes()
    place = work / "input"
    base = f"sqlite:///{work / 'none.db'}"

    def file(content: bytes) -> Path:
        place.write_bytes(content)
        return place

    def tracks(content: bytes) -> object:
        return summarise(read_tracks(file(content), use_cache=False))

    def configuration(content: bytes) -> Config:
        path = place.with_suffix(".yaml")
        path.write_bytes(content)
        config = load_config(path)
        return load_config(config.to_dict())

    def override(content: bytes) -> Config:
        return load_config("base", [content.decode(errors="surrogateescape")])

    def expression(content: bytes) -> object:
        found = filters.parse(content.decode(errors="surrogateescape"))
        return filters.parse(str(found)), found(table)

    def run(content: bytes) -> object:
        return open_run(content.decode(errors="surrogateescape"), base)

    def checkpoint(content: bytes) -> Checkpoint | None:
        return read_checkpoint(file(content))

    yaml = [path.read_bytes() for path in sorted(Path("configs").glob("*.yaml"))[:6]]
    run_id = b"0123456789abcdef" * 2
    return [
        Reader("track file", [rows], tracks),
        Reader("track file, gzip", [gzip.compress(rows, 1)], tracks),
        Reader(
            "YAML", [*yaml, b"extends: base\ndist: {n_buckets: 3}\n"], configuration
        ),
        Reader("override", [b"epochs=3 data.split=[0.5, 0.3, 0.2]"], override),
        Reader("filter", [FILTER], expression),
        Reader("weights.json", [_weights(work)], lambda c: Networks(read_weights(c))),
        Reader("run", [run_id, b"runs:/" + run_id + b"/a", b"models:/a@b"], run),
        Reader("checkpoint", [_checkpoint(work)], checkpoint),
        Reader("BASF2 settings", [SETTINGS], lambda c: read_settings(file(c))),
    ]


FILTER = (
    b"dataset_filters.ConCatFilter([dataset_filters.Max2EventsFilter(), "
    b"dataset_filters.RangeFilter('RecoZ', -0.5, 0.5), ExpertFilter(-1)])"
)
SETTINGS = (
    b"nMLP == 5\ntMax = 256\nprecision = [12,8,8,12,10,10]\n"
    b"IDRanges = [[0,-1,1],[1,-1,1]]\n# text\nSLpattern=[341,85]\n"
)


def _weights(work: Path) -> bytes:
    state = initial_state(Form(), np.random.default_rng(0))
    path = work / "valid.json"
    write_weights(path, {0: ExpertWeights(state, Form())})
    return path.read_bytes()


def _checkpoint(work: Path) -> bytes:
    path = work / "valid.safetensors"
    checkpoint = Checkpoint(
        values={"best_loss": 0.5},
        backend={"a": np.ones((3, 2), np.float32)},
        best={"a": np.ones(3, np.float32)},
        epochs=[Epoch(number=n, metrics={"val/loss": 1.0}) for n in (1, 2)],
    )
    write_checkpoint(path, checkpoint)
    return path.read_bytes()


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Damage an input a little or a lot."""
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        start = rng.randrange(len(damaged) + 1)
        stop = min(len(damaged), start + rng.choice((0, 0, 1, 4, 100)))
        kind = rng.randrange(5)
        if kind == 0:
            damaged[start:stop] = rng.choice(TOKENS)
        elif kind == 1:
            damaged[start:stop] = rng.randbytes(stop - start + rng.randrange(4))
        elif kind == 2:
            del damaged[start:]
        elif kind == 3:
            damaged[start:start] = damaged[start:stop] * rng.choice((1, 2, 50))
        else:
            other = rng.randrange(len(damaged) + 1)
            damaged[start:stop] = damaged[other : other + stop - start]
    return bytes(damaged)


def bombs(rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Inputs that are small here and large there: reader, input."""
    zeros = gzip.compress(bytes(200 << 20), 9)
    yield "track file, gzip", zeros
    yield "track file, gzip", gzip.compress(b"0\t" * (100 << 20), 9)
    yield "track file, gzip", gzip.compress(b"") * 20_000
    yield (
        "YAML",
        b"a: &a [1]\n"
        + b"".join(b"b%d: &b%d [%s]\n" % (i, i, b"*a," * 9) for i in range(9)),
    )
    yield "YAML", b"[" * 900_000
    yield "override", b"epochs=" + b"{a: " * 100_000
    yield "filter", b"ConCatFilter([" * 250
    wide = {"expert_0": {"weights": {"net.0.weight": [[0] * 4_000_000]}}}
    yield "weights.json", json.dumps(wide).encode()
    yield "weights.json", b"[" * (10 << 20)
    header = json.dumps(
        {"a": {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}}
    )
    yield "checkpoint", len(header).to_bytes(8, "little") + header.encode()
    yield "checkpoint", (2**63).to_bytes(8, "little") + rng.randbytes(100)
    yield "run", b"runs:/" + b"0" * 1_000_000


@contextmanager
def _limits() -> Iterator[None]:
    """Let a reader neither hang nor fill the memory."""

    def late(_: int, __: FrameType | None) -> None:
        raise RuntimeError(f"it took more than {MAX_SECONDS} s")

    old_handler = signal.signal(signal.SIGALRM, late)
    old_limits = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MAX_MEMORY_BYTES, old_limits[1]))
    signal.alarm(MAX_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        resource.setrlimit(resource.RLIMIT_AS, old_limits)
        signal.signal(signal.SIGALRM, old_handler)


def verdict(reader: Reader, content: bytes) -> str:
    """What is wrong with how an input ended; empty if it worked or was refused."""
    begin = time.monotonic()
    try:
        with _limits():
            reader.read(content)
    except NNTError as err:
        message = str(err)
        if not message or len(message) > MAX_MESSAGE:
            return f"a message of {len(message)} characters"
    except Exception as err:  # noqa: BLE001 (this is what is looked for)
        place = traceback.extract_tb(err.__traceback__)[-1]
        return f"{type(err).__name__} in {Path(place.filename).name}: {err}"[:300]
    seconds = time.monotonic() - begin
    return f"{seconds:.0f} s" if seconds > MAX_SECONDS else ""


def bad_inputs(count: int, rng: random.Random, work: Path) -> Iterator[tuple[str, str]]:
    """Feed bad inputs to the readers in turn: reader, what was wrong."""
    known = {reader.name: reader for reader in readers(work)}
    special = list(bombs(rng))[:count]
    for name, content in special:
        yield name, verdict(known[name], content)
    chosen = list(known.values())
    for number in range(count - len(special)):
        reader = chosen[number % len(chosen)]
        content = mutate(rng.choice(reader.valid), rng)
        yield reader.name, verdict(reader, content)
