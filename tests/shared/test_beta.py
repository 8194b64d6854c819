from __future__ import annotations

import statistics
from collections.abc import Iterator
from hashlib import blake2b
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.beta import cdf, chances, deviation, interval, mean, quantile, sample, shape

PARAMETERS = st.floats(1.0, 5_000.0)


def numbers(seed: str) -> Iterator[float]:
    for nth in count():
        yield int.from_bytes(blake2b(f"{seed}|{nth}".encode(), digest_size=7).digest()) / float(1 << 56)


@pytest.mark.parametrize(
    ("x", "a", "b", "wanted"),
    [  # by hand: a polynomial when both parameters are whole
        (0.3, 1, 1, 0.3),
        (0.5, 2, 2, 0.5),
        (0.25, 1, 3, 1 - 0.75**3),
        (0.9, 5, 1, 0.9**5),
        (0.0, 2, 2, 0.0),
        (1.0, 2, 2, 1.0),
    ],
)
def test_the_share_below(x: float, a: float, b: float, wanted: float) -> None:
    assert cdf(x, a, b) == pytest.approx(wanted, abs=1e-10)


@given(st.floats(0.001, 0.999), PARAMETERS, PARAMETERS)
def test_a_quantile_undoes_the_share_below(p: float, a: float, b: float) -> None:
    assert cdf(quantile(p, a, b), a, b) == pytest.approx(p, abs=1e-6)


@given(PARAMETERS, PARAMETERS)
def test_an_interval_holds_its_mass_around_the_middle(a: float, b: float) -> None:
    low, high = interval(a, b)
    assert 0 <= low < quantile(0.5, a, b) < high <= 1
    assert cdf(high, a, b) - cdf(low, a, b) == pytest.approx(0.95, abs=1e-5)


@given(st.integers(-5, 500), st.integers(-5, 500))
def test_any_counts_make_a_shape(hits: int, sent: int) -> None:
    a, b = shape(hits, sent)
    assert a >= 1
    assert b >= 1


@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (3.0, 40.0), (200.0, 100.0)])
def test_draws_have_the_mean_and_spread_of_the_distribution(a: float, b: float) -> None:
    source = numbers(f"{a}|{b}")
    drawn = [sample(a, b, source) for _ in range(4_000)]
    assert all(0 <= each <= 1 for each in drawn)
    assert statistics.fmean(drawn) == pytest.approx(mean(a, b), abs=4 * deviation(a, b) / 4_000**0.5)
    assert statistics.stdev(drawn) == pytest.approx(deviation(a, b), rel=0.05)


def test_the_same_numbers_make_the_same_draws() -> None:
    once, again = numbers("seed"), numbers("seed")
    assert [sample(2, 5, once) for _ in range(20)] == [sample(2, 5, again) for _ in range(20)]


@given(st.lists(st.tuples(PARAMETERS, PARAMETERS), min_size=1, max_size=4))
def test_chances_add_up(shapes: list[tuple[float, float]]) -> None:
    found = chances(*shapes)
    assert sum(found) == pytest.approx(1)
    assert all(0 <= each <= 1 for each in found)


@pytest.mark.parametrize("sent", [22, 31, 100, 399])
def test_chances_are_known_for_every_number_of_hits(sent: int) -> None:
    """Where the reach of a share ends a hair's breadth below 1 as well (19 hits of 22)."""
    plain = shape(sent // 2, sent)
    for hits in range(sent + 1):
        found = chances(shape(hits, sent), plain)
        assert sum(found) == pytest.approx(1)
        assert (found[0] > found[1]) == (hits > sent // 2)


@pytest.mark.parametrize("shapes", [[(3.0, 9.0), (5.0, 7.0)], [(20.0, 80.0), (26.0, 74.0), (22.0, 78.0)]])
def test_chances_are_those_of_draws(shapes: list[tuple[float, float]]) -> None:
    source, wins = numbers("chances"), [0] * len(shapes)
    for _ in range(6_000):
        drawn = [sample(a, b, source) for a, b in shapes]
        wins[drawn.index(max(drawn))] += 1
    assert chances(*shapes) == pytest.approx([each / 6_000 for each in wins], abs=0.025)


def test_equal_ones_have_equal_chances_and_a_far_better_one_wins() -> None:
    assert chances(*[(10.0, 90.0)] * 4) == pytest.approx([0.25] * 4)
    assert chances((11.0, 991.0), (101.0, 901.0))[1] > 0.9999
    assert chances((10_001.0, 990_001.0), (12_001.0, 988_001.0))[1] > 0.9999
    assert chances((4.0, 4.0)) == (1.0,)
