"""The statistics of guessing times, against values worked out by hand or by other programs."""

from __future__ import annotations

import pytest

from performance.guessing_times import mann_whitney


def test_samples_that_do_not_overlap_have_an_extreme_u() -> None:
    lower = mann_whitney([1, 2, 3], [4, 5, 6])
    higher = mann_whitney([4, 5, 6], [1, 2, 3])

    assert (lower.u, lower.effect, higher.u, higher.effect) == (0, 0, 9, 1)
    assert lower.p == higher.p


def test_equal_samples_tell_nothing() -> None:
    found = mann_whitney([5.0] * 10, [5.0] * 10)

    assert (found.p, found.effect) == (1.0, 0.5)


def test_ties_get_the_mean_of_their_ranks() -> None:
    # Ranks of the first sample: 1, 2.5, 4.5; U = 8 - 6.
    assert mann_whitney([1, 2, 3], [2, 3, 4]).u == 2


def test_the_p_value_is_that_of_the_normal_approximation_with_ties() -> None:
    first = [19, 22, 16, 29, 24]
    second = [20, 11, 17, 12]

    found = mann_whitney(first, second)

    # scipy.stats.mannwhitneyu(..., method="asymptotic"): U = 17, p = 0.11134688653314041.
    assert found.u == 17
    assert found.p == pytest.approx(0.11134688653314041)


def test_a_small_difference_is_found_in_many_values() -> None:
    first = [number % 100 for number in range(2000)]
    second = [number % 100 + 10 for number in range(2000)]

    found = mann_whitney(first, second)

    assert found.p < 1e-6
    assert found.effect < 0.5
