"""Track tables against each other: what changed, and what did not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import ks_2samp

from nnt.cli import main
from nnt.metrics import Change, Profile, changes, profiles
from nnt.simulation import Simulation, simulate, simulate_with
from nnt.tracks import INPUT_COLUMNS, Tracks, write_tracks

MakeTracks = Callable[..., Tracks]


def found(first: Tracks, second: Tracks) -> dict[tuple[str, str], Change]:
    return {
        (c.scope, c.quantity): c for c in changes(profiles(first), profiles(second))
    }


def assert_counted(profile: Profile, rows: Tracks, superlayers: Iterable[int]) -> None:
    """Every value of the inputs is counted, where there is a hit, by a plain loop."""
    assert profile.n_rows == len(rows)
    for sl in superlayers:
        parts = rows.inputs_by_superlayer[:, sl]
        hits = [part for part in parts if any(part[:3] != 0)]
        assert profile.n_hits[sl] == len(hits)
        for kind in range(3):
            slow = np.zeros(4096, dtype=int)
            for part in hits:
                place = int((float(part[kind]) / profile.limit + 1) * 2048)
                slow[min(place, 4095)] += 1
            assert (profile.inputs[3 * sl + kind] == slow).all()
        if profile.bits is not None:
            assert profile.bits[sl].tolist() == sum(hits)[3:].tolist()


def test_profiles_count_every_value_where_there_is_a_hit(
    make_tracks: MakeTracks,
) -> None:
    tracks = make_tracks(300)
    told = profiles(tracks)
    assert told.keys() == {"all", *(f"expert_{k}" for k in range(5))}
    for scope, profile in told.items():
        mine = tracks if scope == "all" else tracks[tracks.expert == int(scope[-1])]
        events = {(i["Run"], i["Event"]) for i in mine.ids}
        assert profile.n_events == len(events)
        assert_counted(profile, mine, range(9))
        z_cm = 100 * mine.targets[:, 0]
        slow = np.histogram(z_cm, 4096, (-100, 100))[0]
        assert np.abs(profile.others["z (cm)"] - slow).sum() <= 2  # at edges


@pytest.mark.parametrize("n_inputs", [27, 126])
def test_profiles_of_the_3d_hough_chain(n_inputs: int) -> None:
    tracks = simulate(400, seed=2, chain="3dh", inputs=n_inputs)
    assert tracks.track_type is not None
    told = profiles(tracks)
    assert told.keys() == {"all", "real", "background", "fake"}
    kinds = {"all": (0, 1, 2, 3), "real": (0,), "background": (1,), "fake": (2, 3)}
    for scope, profile in told.items():
        mine = tracks[np.isin(tracks.track_type, kinds[scope])]
        assert_counted(profile, mine, (0, 5))
        assert (profile.bits is None) == (n_inputs == 27)


def test_a_changed_pattern_is_seen() -> None:
    first, second = (
        simulate_with(Simulation(tracks=3000, seed=seed), chain="3dh", inputs=126)
        for seed in (1, 2)
    )
    second.inputs[::3, 14 * 4 + 3 + 7] = 0
    flagged = {name for (_, name), c in found(first, second).items() if c.flagged}
    assert flagged == {"SL4-extra_input7"}


def test_a_distance_is_that_of_the_rows(make_tracks: MakeTracks) -> None:
    first, second = make_tracks(400, seed=1), make_tracks(500, seed=2)
    told = found(first, second)
    for column in (0, 1, 26):
        seen = [
            t.inputs[:, column][t.inputs[:, column // 3 * 3 :][:, :3].any(axis=1)]
            for t in (first, second)
        ]
        expected = ks_2samp(*seen)
        change = told["all", INPUT_COLUMNS[column]]
        assert change.distance == pytest.approx(expected.statistic, abs=0.01)
        # Events are fewer than rows: more careful.
        assert change.p_value >= expected.pvalue
        assert change.first == pytest.approx(seen[0].mean(), abs=1e-3)


def test_what_has_not_changed_is_not_flagged(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(6000)
    same = found(tracks, tracks)
    assert {c.distance for c in same.values()} == {0.0}
    parts = found(tracks[:3000], tracks[3000:])
    assert not any(c.flagged for c in [*same.values(), *parts.values()])


def test_what_was_changed_is_flagged_and_comes_first(make_tracks: MakeTracks) -> None:
    tracks = make_tracks(4000)
    first, second = tracks[:2000], tracks[2000:]
    inputs = second.inputs.copy()
    inputs[:, 4] = np.abs(inputs[:, 4])
    rows = (second.expert == 3).nonzero()[0][::2]
    inputs[rows, 18:21] = 0
    told = changes(
        profiles(first), profiles(dataclasses.replace(second, inputs=inputs))
    )
    flagged = {(c.scope, c.quantity) for c in told if c.flagged}
    assert {("all", "SL1-driftT"), ("expert_3", "hits in SL6")} <= flagged
    assert {q for _, q in flagged} == {"SL1-driftT", "hits in SL6"}
    assert [c.flagged for c in told] == sorted((c.flagged for c in told), reverse=True)


def test_an_expert_that_is_gone_is_told_by_its_share(make_tracks: MakeTracks) -> None:
    told = found(make_tracks(900), make_tracks(900, experts=(0, 1)))
    change = told["all", "rows of expert 4"]
    assert change.flagged
    assert change.second == 0
    assert not any(scope == "expert_4" for scope, _ in told)


def test_describe_tells_and_draws_what_changed(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    one, two = tmp_path / "one.gz", tmp_path / "two.gz"
    tracks = make_tracks(900, experts=(2,))
    write_tracks(tracks, one)
    inputs = np.where(np.arange(27) == 7, np.abs(tracks.inputs), tracks.inputs)
    write_tracks(dataclasses.replace(tracks, inputs=inputs), two)
    folder = tmp_path / "new" / "plots"
    words = ["data", "describe", str(one), "--against", str(two)]
    done = CliRunner().invoke(main, [*words, "--plots", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    top = told["against"]["changes"][0]
    assert (top["quantity"], top["scope"]) == ("SL2-driftT", "all")
    assert top["flagged"]
    names = {f"{n}_{s}.png" for n in ("inputs", "z", "theta", "inverse_pt")
             for s in ("all", "expert_2")}  # fmt: skip
    assert {path.name for path in folder.iterdir()} == names
    assert len(told["plots"]) == len(names)
    table = CliRunner().invoke(main, words)
    assert table.exit_code == 0, table.output
    assert "SL2-driftT" in table.stdout
    same = CliRunner().invoke(
        main, ["data", "describe", str(one), "--against", str(one)]
    )
    assert "No change" in same.stdout


def test_a_folder_that_cannot_be_made_is_one_error(
    make_tracks: MakeTracks, tmp_path: Path
) -> None:
    path = tmp_path / "one.gz"
    write_tracks(make_tracks(50), path)
    words = ["data", "describe", str(path), "--plots", str(path / "plots")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert "plots: Not a directory" in done.stderr
    assert "Traceback" not in done.output
