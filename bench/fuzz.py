"""Feed the readers with damaged inputs until the time is up.

``python -m bench fuzz --seconds 60`` damages valid inputs of every reader at random.
``--atheris NAME`` fuzzes one reader guided by the coverage of its code instead, where
atheris is installed (``pip install atheris``).

What ends in anything but an `NNTError` or success is kept in a folder and reported.
"""

from __future__ import annotations

import argparse
import inspect
import random
import sys
import time
from collections import Counter
from pathlib import Path

from bench._frame import kept_where_it_fails, read_options
from bench._rubbish import Reader, mutate, readers, verdict


def main() -> None:
    """Fuzz and print a line for each reader."""
    arguments = read_options(__doc__, seconds=60.0, seed=1, only=[], atheris=str)
    with kept_where_it_fails("fuzz") as work:
        known = readers(work)
        if arguments.atheris:
            reader = next(r for r in known if r.name == arguments.atheris)
            _guided(reader, arguments, work)
            return
        chosen = [r for r in known if not arguments.only or r.name in arguments.only]
        if _at_random(chosen, arguments, work):
            sys.exit(1)


def _at_random(chosen: list[Reader], arguments: argparse.Namespace, work: Path) -> int:
    rng, tried, found = random.Random(arguments.seed), Counter[str](), Counter[str]()
    seen: set[str] = set()
    end = time.monotonic() + arguments.seconds
    while time.monotonic() < end:
        for reader in chosen:
            content = mutate(rng.choice(reader.valid), rng)
            tried[reader.name] += 1
            problem = verdict(reader, content)
            if not problem:
                continue
            found[reader.name] += 1
            if problem[:60] not in seen:
                seen.add(problem[:60])
                (work / f"bad-{len(seen)}").write_bytes(content)
                print(f"{reader.name}: {problem} (bad-{len(seen)})", flush=True)
    for reader in chosen:
        print(f"{reader.name:20} {tried[reader.name]:7} tried {found[reader.name]} bad")
    return found.total()


def _guided(reader: Reader, arguments: argparse.Namespace, work: Path) -> None:
    import atheris

    corpus = work / "corpus"
    corpus.mkdir()
    for number, content in enumerate(reader.valid):
        (corpus / str(number)).write_bytes(content)

    def one(content: bytes) -> None:
        problem = verdict(reader, content)
        if problem:
            raise RuntimeError(problem)

    # All of PyTorch and MLflow would take minutes.
    for name, module in list(sys.modules.items()):
        for value in vars(module).values() if name.startswith("nnt.") else ():
            if inspect.isfunction(value) and value.__module__ == name:
                atheris.instrument_func(value)
    options = [f"-max_total_time={arguments.seconds:.0f}", "-max_len=20000"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()
