"""The beta distribution, as far as comparing shares needs it: draws, quantiles, intervals, and who is probably best.

Pure arithmetic without a random source: draws are made from numbers that the caller gives, so that the same ones lead
to the same draw in live handling, replay and simulation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from math import cos, exp, lgamma, log, log1p, pi, sqrt

#: A share with its parameters, both at least 1: one more than the hits, one more than the misses.
Shape = tuple[float, float]

#: Points at which a density is summed; the sum of a smooth one is right to six places from about 60 on.
_POINTS = 96
#: Standard deviations around the mean outside which a share is taken to be impossible.
_REACH = 8.0
_TINY = 1e-300


def shape(hits: int, sent: int) -> Shape:
    """What is known about a share after ``hits`` of ``sent``, when nothing was known before."""
    hits = min(max(hits, 0), max(sent, 0))
    return 1.0 + hits, 1.0 + max(sent, 0) - hits


def mean(a: float, b: float) -> float:
    return a / (a + b)


def sample(a: float, b: float, numbers: Iterator[float]) -> float:
    """A draw from the distribution with parameters of at least 1, made from ``numbers`` from 0 (inside) to 1
    (outside).
    """
    one, other = _gamma(a, numbers), _gamma(b, numbers)
    return one / (one + other)


def _gamma(form: float, numbers: Iterator[float]) -> float:
    """Marsaglia and Tsang's method, for a form of at least 1."""
    d = form - 1.0 / 3.0
    c = 1.0 / sqrt(9.0 * d)
    while True:
        x = sqrt(-2.0 * log1p(-next(numbers))) * cos(2.0 * pi * next(numbers))
        cube = (1.0 + c * x) ** 3
        if cube > 0.0 and log1p(-next(numbers)) < 0.5 * x * x + d - d * cube + d * log(cube):
            return d * cube


def cdf(x: float, a: float, b: float) -> float:
    """The probability of at most ``x``."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1.0 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1.0))
    value = d
    for m in range(1, 1_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away_from_zero(1.0 + step * d)
            c = _away_from_zero(1.0 + step / c)
            value *= c * d
        if abs(c * d - 1.0) < 1e-12:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def quantile(p: float, a: float, b: float) -> float:
    """The value that is not exceeded with probability ``p``."""
    low, high = _bounds(a, b)
    below, above = cdf(low, a, b) - p, cdf(high, a, b) - p
    if below >= 0.0 or above <= 0.0:
        low, high, below, above = 0.0, 1.0, -p, 1.0 - p
    side = 0
    for _ in range(200):  # the Illinois method: a secant that never keeps one end for long
        middle = (low * above - high * below) / (above - below)
        value = cdf(middle, a, b) - p
        if abs(value) < 1e-10 or high - low < 1e-14:
            break
        if value < 0.0:
            low, below, above, side = middle, value, above / 2.0 if side < 0 else above, -1
        else:
            high, above, below, side = middle, value, below / 2.0 if side > 0 else below, 1
    return middle


def interval(a: float, b: float, mass: float = 0.95) -> tuple[float, float]:
    """The credible interval with equal tails."""
    tail = (1.0 - mass) / 2.0
    return quantile(tail, a, b), quantile(1.0 - tail, a, b)


@lru_cache(maxsize=1_024)
def chances(*shapes: Shape) -> tuple[float, ...]:
    """The probability of each to be the highest; they add up to 1."""
    cells = _cells(shapes)
    masses = [_masses(a, b, cells) for a, b in shapes]
    so_far = [0.0] * len(shapes)
    wins = [0.0] * len(shapes)
    for at in range(len(cells)):
        below = [known + mass[at] / 2.0 for known, mass in zip(so_far, masses, strict=True)]
        for index, mass in enumerate(masses):
            share = mass[at]
            for other, under in enumerate(below):
                if other != index:
                    share *= under
            wins[index] += share
            so_far[index] += mass[at]
    total = sum(wins)
    return tuple(each / total for each in wins)


def _cells(shapes: Sequence[Shape]) -> list[tuple[float, float]]:
    """Middle and width of cells that are narrow wherever one of the distributions has its mass. Edges between which no
    number lies make none: next to 1 the middle would be 1 itself.
    """
    edges = {0.0, 1.0}
    for a, b in shapes:
        low, high = _bounds(a, b)
        edges.update(low + (high - low) * point / _POINTS for point in range(_POINTS + 1))
    sorted_edges = sorted(edges)
    cells = (((low + high) / 2.0, low, high) for low, high in pairwise(sorted_edges))
    return [(middle, high - low) for middle, low, high in cells if low < middle < high]


def _masses(a: float, b: float, cells: Sequence[tuple[float, float]]) -> list[float]:
    """The distribution's mass in each cell; they add up to 1."""
    mode = (a - 1.0) / (a + b - 2.0) if a + b > 2.0 else 0.5
    top = (a - 1.0) * log(max(mode, _TINY)) + (b - 1.0) * log(max(1.0 - mode, _TINY))
    masses = [exp((a - 1.0) * log(x) + (b - 1.0) * log1p(-x) - top) * width for x, width in cells]
    total = sum(masses)
    return [each / total for each in masses]


def _bounds(a: float, b: float) -> tuple[float, float]:
    middle, reach = mean(a, b), _REACH * deviation(a, b)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def deviation(a: float, b: float) -> float:
    """The standard deviation."""
    whole = a + b
    return sqrt(a * b / (whole * whole * (whole + 1.0)))
