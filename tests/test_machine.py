"""What a process may use is what counts, not what the machine has."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from nnt.config import load_config
from nnt.machine import usable_cores, user_name
from nnt.training.places import Places

MANY = os.cpu_count() or 1


def groups(root: Path, lines: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (root / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "cgroup" / name).write_text(text)
    (root / "membership").write_text(lines)
    return root / "cgroup", root / "membership"


def test_cores_that_the_process_is_bound_to_count() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system binds no process to cores")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
        places = Places.of(load_config("base"), "cpu")
        assert (places.jobs(None), places.jobs(3)) == (1, 3)
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("lines", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "100000 100000\n"}, 1),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "5000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, MANY),
        ("0::/a\n", {"a/cpu.max": "what\n"}, MANY),
        ("0::/a\n", {}, MANY),
        ("", {}, MANY),
        ("nonsense\n", {}, MANY),
        (
            "3:cpu,cpuacct:/a\n",
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "90000\n",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            "3:cpu:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            MANY,
        ),
    ],
)
def test_the_share_that_a_container_has_counts(
    lines: str, files: dict[str, str], expected: int, tmp_path: Path
) -> None:
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else MANY
    assert usable_cores(*groups(tmp_path, lines, files)) == min(expected, bound)


def test_an_account_without_a_name_goes_by_its_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(number: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {number}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert user_name() == str(os.getuid())
