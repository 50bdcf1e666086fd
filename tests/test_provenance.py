"""The state of the code is right whatever the settings of git and the shell."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nnt import provenance
from nnt.provenance import CodeState, code_state


@pytest.fixture(autouse=True)
def _bare_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    return subprocess.run(
        ["git", *who, "-C", str(folder), *arguments],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a checkout that looks like one of NNT, with two commits."""
    folder = tmp_path / "checkout"
    (folder / "nnt").mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main")
    (folder / provenance.ITSELF).write_text("a = 1\n")
    (folder / "näme with blank.txt").write_text("one\ntwo\nthree\n")
    (folder / "picture.png").write_bytes(bytes(range(256)))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


def change(checkout: Path) -> None:
    (checkout / provenance.ITSELF).write_text("a = 2\n")
    text = checkout / "näme with blank.txt"
    text.rename(checkout / "new.txt")
    git(checkout, "add", "new.txt")
    (checkout / "picture.png").write_bytes(bytes(range(255, -1, -1)))


def check_patch(state: CodeState, checkout: Path, tmp_path: Path) -> None:
    """Apply the patch to the commit: that must give the code as it is."""
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(checkout), str(clone))
    patch = tmp_path / "diff.patch"
    patch.write_text(state.diff)
    git(clone, "apply", str(patch))
    names = [p.relative_to(checkout) for p in checkout.rglob("*") if p.is_file()]
    for name in names:
        if name.parts[0] != ".git":
            assert (clone / name).read_bytes() == (checkout / name).read_bytes()
    assert not (clone / "näme with blank.txt").exists()


SETTINGS = {
    "none": {},
    "difftastic": {"diff.external": "/bin/true"},
    "colour": {"color.ui": "always", "color.diff": "always"},
    "no prefix": {"diff.noprefix": "true"},
    "other prefixes": {"diff.mnemonicPrefix": "true"},
    "renames": {"diff.renames": "copies"},
    "words": {"diff.wordRegex": ".", "diff.algorithm": "patience"},
    "context": {"diff.context": "0", "diff.interHunkContext": "9"},
    "pager": {"core.pager": "false", "pager.diff": "false"},
    "monitor": {"core.fsmonitor": "/bin/false"},
    "names": {"core.quotePath": "false"},
    "order": {"diff.orderFile": "/nonexistent"},
    "relative": {"diff.relative": "true"},
    "drivers": {
        "core.attributesFile": "~/attributes",
        "diff.mine.command": "/bin/true",
        "diff.mine.textconv": "/bin/false",
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_settings_of_the_user_change_nothing(
    settings: dict[str, str], checkout: Path, tmp_path: Path
) -> None:
    change(checkout)
    drivers = "*.py diff=mine\n*.txt diff=mine\n"
    (tmp_path / "home" / "attributes").write_text(drivers)
    for name, value in settings.items():
        git(tmp_path, "config", "--global", name, value)
    state = code_state(checkout)
    assert (state.dirty_tag, state.branch) == ("true", "main")
    check_patch(state, checkout, tmp_path)


@pytest.mark.parametrize("flag", ["skip-worktree", "assume-unchanged"])
def test_a_file_that_git_does_not_look_at_is_not_taken_for_unchanged(
    flag: str, checkout: Path, caplog: pytest.LogCaptureFixture
) -> None:
    git(checkout, "update-index", f"--{flag}", provenance.ITSELF, "picture.png")
    (checkout / "picture.png").unlink()  # as in a sparse checkout
    assert code_state(checkout).dirty_tag == "unknown"
    assert f"--no-skip-worktree {provenance.ITSELF}" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GIT_DIR", "other/.git"),
        ("GIT_WORK_TREE", "other"),
        ("GIT_INDEX_FILE", "other/.git/index"),
        ("GIT_OBJECT_DIRECTORY", "other/.git/objects"),
        ("GIT_CEILING_DIRECTORIES", "."),
        ("GIT_NAMESPACE", "x"),
        ("GIT_EXTERNAL_DIFF", "/bin/true"),
        ("GIT_DIFF_OPTS", "-u0"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("LC_ALL", "C"),
    ],
)
def test_variables_of_the_shell_change_nothing(
    name: str, value: str, checkout: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other = tmp_path / "other"
    git(tmp_path, "init", "-q", str(other))
    git(other, "commit", "-q", "--allow-empty", "-m", "other")
    commit = git(checkout, "rev-parse", "HEAD")
    change(checkout)
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv(name, value)
        state = code_state(checkout)
    assert (state.commit, state.dirty_tag) == (commit, "true")
    check_patch(state, checkout, tmp_path)


def test_files_that_were_only_touched_are_no_change(checkout: Path) -> None:
    for path in checkout.rglob("*"):
        os.utime(path, (1, 1))
    state = code_state(checkout)
    assert (state.is_dirty, state.diff, state.diff_digest) == (False, "", "none")


def test_nothing_is_written_to_the_checkout(checkout: Path) -> None:
    os.utime(checkout / provenance.ITSELF, (1, 1))
    index = checkout / ".git" / "index"
    before = index.read_bytes()
    code_state(checkout)
    assert index.read_bytes() == before


def foreign(folder: Path, tmp_path: Path) -> Path:
    """Put NNT into a repository that is not its own."""
    checkout = tmp_path / "analysis" / folder
    (checkout / "nnt").mkdir(parents=True)
    (checkout / provenance.ITSELF).touch()
    git(tmp_path / "analysis", "init", "-q")
    git(tmp_path / "analysis", "commit", "-q", "--allow-empty", "-m", "analysis")
    return checkout


@pytest.mark.parametrize(
    ("folder", "tracked"),
    [(".venv/site-packages", False), (".venv/site-packages", True), (".", False)],
)
def test_a_repository_around_nnt_does_not_count(
    folder: str, tracked: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkout = foreign(Path(folder), tmp_path)
    if tracked:
        git(tmp_path / "analysis", "add", ".")
        git(tmp_path / "analysis", "commit", "-qm", "environment")
    state = code_state(checkout)
    assert (state.commit, state.dirty_tag, state.diff) == ("unknown", "unknown", "")
    assert "install it from a clone" in caplog.text


def test_a_worktree_counts(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "worktree", "add", "-q", "-b", "side", str(tmp_path / "tree"))
    state = code_state(tmp_path / "tree")
    assert (state.commit, state.branch) == (git(checkout, "rev-parse", "HEAD"), "side")


def test_a_checkout_of_another_owner_is_known(checkout: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 54321, 54321)
    assert code_state(checkout).dirty_tag == "false"


def test_where_git_refuses_the_remedy_is_named(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(checkout, 54321, 54321)
    monkeypatch.setattr(provenance, "SETTINGS", ())  # as older versions of git take it
    state = code_state(checkout)
    assert (state.commit, state.diff_digest) == ("unknown", "unknown")
    assert f"git config --global --add safe.directory {checkout}" in caplog.text


def test_where_there_is_no_git_a_warning_says_so(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_state(checkout).dirty_tag == "unknown"
    assert "git is not on the PATH" in caplog.text


@pytest.mark.parametrize("damage", ["no commit", "no objects", "no head"])
def test_a_damaged_repository_is_unknown_and_said(
    damage: str, checkout: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = checkout / ".git"
    if damage == "no commit":
        shutil.rmtree(folder)
        git(checkout, "init", "-q")
        git(checkout, "add", ".")
    elif damage == "no objects":
        shutil.rmtree(folder / "objects")
    else:
        (folder / "HEAD").unlink()
    assert code_state(checkout) == CodeState(commit="unknown", branch="", diff="")
    assert "git says" in caplog.text


def test_this_checkout_is_known_where_it_is_one() -> None:
    if not (provenance.CHECKOUT / ".git").exists():
        pytest.skip("nnt does not run from a checkout")
    assert len(code_state().commit) == 40
