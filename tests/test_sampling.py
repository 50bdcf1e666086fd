"""Streams of randomness, and the rows of an epoch."""

import itertools
import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnt.config.parts import Distribution, Normal, Uniform
from nnt.errors import DataError
from nnt.sampling import BucketSampler, EpochSampler, _alias_table, generator


def normal_cdf(x: float, mean: float, std: float) -> float:
    """Slow plain reference."""
    return (1 + math.erf((x - mean) / std / math.sqrt(2))) / 2


def test_generators_repeat_and_differ() -> None:
    keys = [(s, e, p) for s in (0, 1) for e in range(-1, 5) for p in ("a", "b")]
    draws = [generator(*key).integers(2**62) for key in keys]
    assert draws == [generator(*key).integers(2**62) for key in keys]
    assert len(set(draws)) == len(keys)


def test_plain_epoch_holds_every_row_once() -> None:
    rows = EpochSampler(1000).epoch(np.random.default_rng(1))
    assert rows.dtype == np.int64
    assert (rows != np.arange(1000)).any()
    np.testing.assert_array_equal(np.sort(rows), np.arange(1000))


@given(
    n_buckets=st.integers(1, 40),
    mean=st.floats(-0.5, 0.5),
    std=st.floats(0.1, 2.0),
    inf_bounds=st.booleans(),
)
def test_bucket_probabilities_follow_the_cdf(
    n_buckets: int, mean: float, std: float, inf_bounds: bool
) -> None:
    edges = [-1 + 2 * i / n_buckets for i in range(n_buckets + 1)]
    if inf_bounds:
        edges[0], edges[-1] = -math.inf, math.inf
    below = [normal_cdf(edge, mean, std) for edge in edges]
    share = [b - a for a, b in itertools.pairwise(below)]
    expected = [s / sum(share) for s in share]
    law = Distribution(
        n_buckets=n_buckets, inf_bounds=inf_bounds, norm=Normal(mean=mean, std=std)
    )
    np.testing.assert_allclose(law.probabilities, expected, atol=1e-12)


def test_uniform_buckets_outside_the_bounds_are_never_drawn() -> None:
    law = Distribution(n_buckets=4, uniform=Uniform(lower=-0.5, upper=0.5))
    np.testing.assert_allclose(law.probabilities, [0, 0.5, 0.5, 0])


def test_drawn_rows_follow_the_distribution_and_fill_their_bucket() -> None:
    rng = np.random.default_rng(5)
    z = np.sort(rng.uniform(-1, 1, 200_000)).astype(np.float32) ** 3
    law = Distribution(n_buckets=8, norm=Normal(mean=0.2, std=0.5))
    rows = BucketSampler(z, law.probabilities).epoch(rng)
    assert rows.shape == z.shape
    count = np.histogram(z[rows], bins=np.linspace(-1, 1, 9))[0]
    expected = law.probabilities * len(z)
    assert ((count - expected) ** 2 / expected).sum() < 30
    inside = np.flatnonzero((z >= 0.5) & (z < 0.75))
    drawn = rows[(z[rows] >= 0.5) & (z[rows] < 0.75)]
    assert drawn.mean() == pytest.approx(inside.mean(), rel=1e-3)


@given(st.lists(st.tuples(st.floats(1e-3, 1), st.integers(1, 9)), min_size=1))
def test_alias_cells_give_each_row_its_share(
    buckets: list[tuple[float, int]],
) -> None:
    share, count = (np.array(values) for values in zip(*buckets, strict=True))
    split, base, slope = _alias_table(share, count)
    n_points = 20_000
    found = np.zeros(count.sum())
    for point in range(n_points):
        place, cell = math.modf((point + 0.5) / n_points * len(share))
        side = 2 * int(cell) + (place >= split[int(cell)])
        row = int(base[side] + slope[side] * place)
        found[min(row, len(found) - 1)] += 1
    expected = np.repeat(share / share.sum() / count, count)
    # Of each cell, a piece may begin or end between two points.
    rounding = 2 * (len(share) + 1) / n_points
    np.testing.assert_allclose(found / n_points, expected, atol=rounding)


@pytest.mark.parametrize("std", np.geomspace(0.005, 0.05, 60))
def test_buckets_that_hardly_have_a_share_do_no_harm(std: float) -> None:
    z = np.linspace(-1, 1, 400)
    law = Distribution(n_buckets=40, norm=Normal(mean=0.37, std=std))
    rows = BucketSampler(z, law.probabilities).epoch(np.random.default_rng(1))
    assert abs(z[rows] - 0.37).max() < 5 * std + 0.1


def test_the_ends_of_z_belong_to_the_outer_buckets() -> None:
    law = Distribution(n_buckets=2, uniform=Uniform(lower=-1, upper=1))
    rows = BucketSampler(np.array([-1.0, 1.0]), law.probabilities).epoch(
        np.random.default_rng(1)
    )
    assert set(rows) <= {0, 1}


def test_empty_bucket_is_told_once_and_its_share_goes_round(
    caplog: pytest.LogCaptureFixture,
) -> None:
    z = np.linspace(0.01, 0.99, 10_000, dtype=np.float32)
    with caplog.at_level(logging.WARNING):
        law = Distribution(n_buckets=4, uniform=Uniform(lower=-1, upper=1))
        sampler = BucketSampler(z, law.probabilities, "expert 3")
        rng = np.random.default_rng(6)
        rows = [sampler.epoch(rng) for _ in range(3)]
    (record,) = caplog.records
    assert record.getMessage().startswith("expert 3: dist: 2 of 4 buckets hold no row")
    assert np.mean(z[np.concatenate(rows)] < 0.5) == pytest.approx(0.5, abs=0.02)


def test_no_row_within_reach_is_an_error() -> None:
    law = Distribution(n_buckets=4, uniform=Uniform(lower=-1, upper=-0.5))
    with pytest.raises(DataError, match=r"^expert -1: dist: .*widen"):
        BucketSampler(np.array([0.9]), law.probabilities, "expert -1")
