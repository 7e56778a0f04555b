"""Distances of laws of paths: exact signatures, equal laws, laws that differ."""

import math

import numpy as np
import pytest

from continua.metrics import (
    autocorrelation_distance,
    marginal_distance,
    signature_distance,
    signatures,
    two_sample_p_value,
)
from continua.metrics.paths import _lead_lag, _outer


def walks(count, *, scale=1.0, memory=0.0, seed=0):
    rng = np.random.default_rng(seed)
    steps = rng.standard_normal((count, 20, 2))
    for i in range(1, 20):
        steps[:, i] = memory * steps[:, i - 1] + np.sqrt(1 - memory**2) * steps[:, i]
    return scale * np.cumsum(steps, axis=1) / np.sqrt(20)


def test_a_straight_line_has_the_powers_of_its_increment():
    line = np.linspace(0, 1, 7)[:, None] * np.array([0.3, -1.2])
    levels = np.split(signatures(line[None], 3)[0], [3, 12])
    v = np.array([1.0, 0.3, -1.2])  # time first
    expected, power = [], np.ones(1)
    for k in range(1, 4):
        power = np.kron(power, v)
        expected.append(power / math.factorial(k))
    for found, right in zip(levels, expected, strict=True):
        np.testing.assert_allclose(found, right, atol=1e-14)


def test_signatures_multiply_and_the_symmetric_part_is_the_square_of_the_increment():
    path = walks(1)[0]
    s = signatures(path[None], 2)[0]
    first, second = s[:3], s[3:].reshape(3, 3)
    np.testing.assert_allclose((second + second.T) / 2, np.outer(first, first) / 2, atol=1e-13)
    # The area of a step along time and then along a channel.
    corner = signatures(np.array([[[0.0], [0.0], [2.0]]]), 2)[0]
    whole = corner[2:].reshape(2, 2)
    assert whole[0, 1] - whole[1, 0] == pytest.approx(1.0 * 2.0 - 0.5 * 2.0)
    assert _outer(np.ones((1, 2)), np.ones((1, 3))).shape == (1, 6)


def test_distances_vanish_between_equal_sets_and_do_not_see_their_order():
    a, b = walks(50), walks(60, seed=1)
    for distance in (marginal_distance, autocorrelation_distance, signature_distance):
        assert distance(a, a) == 0.0
        assert distance(a[::-1], b) == pytest.approx(distance(a, b), rel=1e-12)
    # A shift by one deviation at every time is a distance of one.
    assert marginal_distance(b + b.std(axis=0), b) == pytest.approx(1.0, rel=1e-12)


def test_the_area_between_a_path_and_its_past_is_the_square_of_its_increments():
    x = np.random.default_rng(0).standard_normal((3, 9, 1))
    second = signatures(_lead_lag(x), 2)[:, 3:].reshape(3, 3, 3)
    area = second[:, 1, 2] - second[:, 2, 1]
    np.testing.assert_allclose(area, (np.diff(x[..., 0]) ** 2).sum(axis=1), rtol=1e-12)


def test_equal_laws_pass_and_others_do_not():
    values = [two_sample_p_value(walks(100, seed=i), walks(100, seed=i + 50)) for i in range(20)]
    assert 0.2 < np.mean(values) < 0.8
    assert np.mean(np.array(values) < 0.05) <= 0.2
    assert two_sample_p_value(walks(300), walks(300, scale=1.4, seed=1)) < 0.02
    # A walk, and the end of another with noise around the straight line to it: with the same
    # deviations at all times they differ by what one row says of the next alone.
    steps = np.arange(1, 21)[:, None] / 20
    ends = walks(400, seed=2)[:, -1:] * steps
    other = np.random.default_rng(3).standard_normal(ends.shape) * np.sqrt(steps - steps**2)
    assert two_sample_p_value(walks(400), ends + other) < 0.02
    rough, smooth = walks(400), walks(400, memory=0.8, seed=1)
    smooth = smooth / smooth[:, -1].std() * rough[:, -1].std()
    assert autocorrelation_distance(smooth, rough) > 0.2
    assert autocorrelation_distance(walks(400, seed=3), rough) < 0.05
