"""Commands run whatever became of the standard streams, and show their progress."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnt.progress import show_progress

CLOSED = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
CODE = """
import os, sys
for number in map(int, sys.argv[1].split()):
    os.close(number)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[2], sys.argv[3]])
"""
COMMAND = """
import sys
from nnt.cli.process import open_streams
open_streams()
file = open(sys.argv[1], "wb")
assert file.fileno() > 2
print("told"), print("told", file=sys.stderr), sys.stdin.isatty(), sys.stdin.read()
sys.stdout.flush(), sys.stderr.flush()
file.write(b"data")
"""


def run(code: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | variables, stdin=subprocess.DEVNULL, capture_output=True,
        check=False,
    )  # fmt: skip
    encoding = variables.get("PYTHONIOENCODING", "utf-8")
    return done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding)


@pytest.mark.parametrize("closed", CLOSED, ids=str)
def test_closed_streams_take_no_file_and_no_text(
    closed: tuple[int, ...], tmp_path: Path
) -> None:
    numbers = " ".join(map(str, closed))
    status, out, err = run(CODE, numbers, COMMAND, str(tmp_path / "file"))
    assert status == 0, err
    assert (out, err) == (
        "" if 1 in closed else "told\n",
        "" if 2 in closed else "told\n",
    )
    assert (tmp_path / "file").read_bytes() == b"data"


def test_commands_run_with_closed_streams(tmp_path: Path) -> None:
    code = "import sys; from nnt.cli import main; main(sys.argv[1].split())"
    command = f"data simulate {tmp_path / 'out'} --tracks 30"
    status, _, err = run(CODE, "0 1 2", code, command)
    assert status == 0, err
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize("place", ["/dev/full", None])
def test_messages_that_nobody_takes_end_nothing(place: str | None) -> None:
    code = (
        "import sys, click, logging; from nnt.cli.process import open_streams\n"
        "from nnt.cli.common import set_up_logging\n"
        "open_streams(); set_up_logging()\n"
        "for _ in range(3):\n"
        "    click.echo('told', err=True); print('told', file=sys.stderr, flush=True)\n"
        "    logging.getLogger('nnt').warning('told')\n"
        "print('done')"
    )
    if place is None:
        reader, number = os.pipe()
        os.close(reader)
    else:
        number = os.open(place, os.O_WRONLY)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=number,
            check=False,
        )  # fmt: skip
    finally:
        os.close(number)
    assert (done.returncode, done.stdout) == (0, b"done\n")


@pytest.mark.parametrize("words", ["--help", "ui --help", "config list --json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_standard_output_is_one_message(words: str, unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            [sys.executable, "-m", "nnt", *words.split()],
            stdout=full, stderr=subprocess.PIPE, check=False,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    error = b"Error: No space left on device; make room and try again\n"
    assert (done.returncode, done.stderr) == (1, error)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "a – … ± ≤ é 漢 ▲ ━"),
        ("latin-1", "a - ... ± <= é ? ^ -"),
        ("cp1252", "a – … ± <= é ? ^ -"),
        ("ascii", "a - ... +- <= e? ? ^ -"),
    ],
)
def test_text_is_shown_in_the_characters_that_there_are(
    encoding: str, expected: str
) -> None:
    code = (
        "import sys; from nnt.cli.process import open_streams; open_streams()\n"
        "text = 'a \\u2013 \\u2026 \\xb1 \\u2264 \\xe9 \\u6f22 \\u25b2 \\u2501'\n"
        "print(text); print(text, file=sys.stderr)"
    )
    out = run(code, PYTHONIOENCODING=encoding)
    assert out == (0, f"{expected}\n", f"{expected}\n")


@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
    ids=str,
)
def test_tables_are_shown_in_any_locale(variables: dict[str, str]) -> None:
    code = "import sys; from nnt.cli import main; main(['config', 'list'])"
    status, out, err = run(code, **variables)
    assert status == 0, err
    assert "baseline_v2" in out


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("kind", [Terminal, io.StringIO])
def test_a_bar_is_shown_on_a_terminal_alone(
    kind: type[io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = kind()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with show_progress("Simulating", "tracks") as progress:
        progress(1_500, 10_000)
    shown = screen.getvalue()
    for words in ("Simulating", "1,500/10,000 tracks", "tracks/s"):
        assert (words in shown) == (kind is Terminal)
    assert bool(shown) == (kind is Terminal)
