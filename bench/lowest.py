"""Print the lowest versions that ``pyproject.toml`` allows, for pip to install.

``make lowest`` runs the tests with them. Torch is left out: it is large, and its builds
differ from index to index.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"
APART = {"torch"}
BOUND = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)>=(?P<version>[0-9.]+)")


def lowest(pyproject: Path = PYPROJECT) -> Iterator[str]:
    """Name each direct requirement at its lower bound, as in ``numpy==2.0``.

    Raises
    ------
    ValueError
        A requirement has no lower bound of the form ``name>=version``.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    listed = [*project["dependencies"], *extras["test"]]
    for requirement in listed:
        # The list grows on the way: the tests need most of the other extras.
        if requirement.startswith(f"{project['name']}["):
            listed += [
                r for e in re.findall(r"\w+", requirement)[1:] for r in extras[e]
            ]
            continue
        bound = BOUND.fullmatch(requirement)
        if bound is None:
            raise ValueError(f"{requirement}: expected a lower bound, name>=version")
        if bound["name"] not in APART:
            yield f"{bound['name']}=={bound['version']}"


def main() -> None:
    """Print a line for each requirement."""
    sys.stdout.write("".join(f"{line}\n" for line in lowest()))


if __name__ == "__main__":
    main()
