"""Measures of attractors against what is known of Lorenz' and of linear systems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua import metrics
from continua.core.errors import InputError

SEVERAL = np.random.default_rng(0).normal(size=(400, 8))


def field(y):
    return jnp.stack([10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]])


def step(y, h=0.01):
    k1 = field(y)
    k2 = field(y + h / 2 * k1)
    k3 = field(y + h / 2 * k2)
    k4 = field(y + h * k3)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


@pytest.fixture(scope="module")
def orbit() -> np.ndarray:
    """Lorenz' system, 100 rows to a unit of time, on its attractor."""

    @jax.jit
    def run(y):
        return jax.lax.scan(lambda y, _: (step(y),) * 2, y, None, length=152_000)[1]

    return np.asarray(run(jnp.array([1.0, 1.0, 20.0])))[2000:]


def test_an_orbit_is_like_itself(orbit):
    part = orbit[:10_000]
    assert metrics.state_space_divergence(part, part) == 0.0
    assert metrics.state_space_divergence(SEVERAL, SEVERAL) == 0.0
    assert metrics.power_spectrum_distance(part, part) == 0.0


def test_orbits_of_one_system_are_nearer_than_others(orbit):
    true, other = orbit[:10_000], orbit[20_000:30_000]
    near = metrics.state_space_divergence(true, other)
    assert 0.3 < near < 2.5  # what so few points leave
    still = np.broadcast_to(true[0], true.shape)
    assert metrics.state_space_divergence(true, still) > 5 * near
    assert metrics.power_spectrum_distance(true, other) < 0.2
    assert metrics.power_spectrum_distance(true, still) == 1.0
    fast = metrics.power_spectrum_distance(true, other[::3])
    assert 0.2 < fast < 1.0


def test_the_divergence_is_that_of_the_counts():
    true = np.array([[0.0], [0.01], [0.99], [1.0]])
    generated = np.array([[0.05], [0.95], [0.96], [7.0]])  # the last one is in no box
    found = metrics.state_space_divergence(true, generated, bins=2)
    p = np.array([2, 2]) + 1e-5
    q = np.array([1, 2]) + 1e-5
    p, q = p / (4 + 2e-5), q / (4 + 2e-5)
    np.testing.assert_allclose(found, np.sum(p * np.log(p / q)), rtol=1e-12)
    # Boxes that nothing has met count as well.
    found = metrics.state_space_divergence(true, true[:2], bins=10)
    p = np.array([2, 2, *(0,) * 8]) + 1e-5
    q = np.array([2, 0, *(0,) * 8]) + 1e-5
    p, q = p / (4 + 1e-4), q / (2 + 1e-4)
    np.testing.assert_allclose(found, np.sum(p * np.log(p / q)), rtol=1e-12)


def test_the_divergence_of_mixtures_is_that_of_normal_densities():
    # One point each: normal densities whose divergence is half the squared distance.
    one, other = np.zeros((1, 6)), np.full((1, 6), 0.5)
    found = metrics.state_space_divergence(one, other, draws=200_000)
    np.testing.assert_allclose(found, 0.5 * 6 * 0.25, rtol=0.01)
    found = metrics.state_space_divergence(one, other, variance=4.0, draws=200_000)
    np.testing.assert_allclose(found, 0.5 * 6 * 0.25 / 4, rtol=0.02)


def test_spectra_of_waves_without_smoothing():
    t = np.arange(256) * 2 * np.pi / 256
    slow, fast = np.sin(4 * t)[:, None], 5 * np.sin(9 * t)[:, None]
    distance = metrics.power_spectrum_distance
    assert distance(slow, 3 * slow + 2, smoothing=0.0) < 1e-7  # scaled by itself
    np.testing.assert_allclose(distance(slow, fast, smoothing=0.0), 1.0, rtol=1e-7)
    both = np.sin(4 * t)[:, None] + np.sin(9 * t)[:, None]
    np.testing.assert_allclose(
        distance(slow, both, smoothing=0.0), np.sqrt(1 - np.sqrt(0.5)), rtol=1e-6
    )


def test_values_that_ended_are_as_far_as_can_be():
    bad = np.where(np.arange(400)[:, None] > 300, np.nan, SEVERAL)
    assert metrics.state_space_divergence(SEVERAL, bad) == np.inf
    assert metrics.state_space_divergence(SEVERAL[:, :2], bad[:, :2]) == np.inf
    assert metrics.power_spectrum_distance(SEVERAL, bad) == 1.0


def test_the_exponents_of_lorenz(orbit):
    found = metrics.lyapunov_spectrum(step, orbit[0], steps=150_000, interval=0.01)
    np.testing.assert_allclose(found[0], 0.906, rtol=0.02)
    np.testing.assert_allclose(found[1], 0.0, atol=0.005)
    # The sum is the divergence of the field, -(10 + 1 + 8/3), but for the steps' error.
    np.testing.assert_allclose(found.sum(), -41 / 3, rtol=1e-4)
    largest = metrics.lyapunov_spectrum(step, orbit[0], steps=150_000, interval=0.01, count=1)
    np.testing.assert_allclose(largest, found[:1], rtol=1e-3)


def test_the_exponents_of_a_linear_map():
    matrix = jnp.array([[0.5, 0.3], [0.0, 2.0]])
    found = metrics.lyapunov_spectrum(
        lambda x: matrix @ x, np.array([1e-200, 0.0]), steps=500, interval=0.5, discard=100
    )
    np.testing.assert_allclose(found, np.log([2.0, 0.5]) / 0.5, rtol=1e-9)


def test_the_dimension_of_lorenz_and_of_a_curve(orbit):
    found = metrics.correlation_dimension(orbit[::5], apart=20)
    np.testing.assert_allclose(found, 2.05, atol=0.05)
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 5000)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    np.testing.assert_allclose(metrics.correlation_dimension(circle, apart=1), 1.0, atol=0.03)


def test_errors_of_forecasts(orbit):
    part = orbit[:500]
    assert metrics.prediction_error(step, part, steps=20) < 1e-20
    still = metrics.prediction_error(lambda x: x, part, steps=3)
    np.testing.assert_allclose(still, np.mean((part[3:] - part[:-3]) ** 2), rtol=1e-12)


def test_bad_input_is_told():
    with pytest.raises(InputError, match=r"shape \(3,\) and \(3,\)"):
        metrics.state_space_divergence(np.zeros(3), np.zeros(3))
    with pytest.raises(InputError, match="must be finite"):
        metrics.power_spectrum_distance(np.full((9, 1), np.nan), np.zeros((9, 1)))
    with pytest.raises(InputError, match="fewer than 100 pairs"):
        metrics.correlation_dimension(np.zeros((200, 2)))
    with pytest.raises(InputError, match="more rows than steps"):
        metrics.prediction_error(step, np.zeros((20, 3)), steps=20)
