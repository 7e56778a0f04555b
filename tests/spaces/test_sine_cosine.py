"""Sines and cosines between walls: exact on what the grid holds."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.core.serialise import load_tree, save_tree
from continua.spaces import FourierSpace
from continua.spaces.sine_cosine import SineCosineSpace, SineCosineStates

LOW, HIGH = -1.0, 2.0
WAVE = np.pi / (HIGH - LOW)


def line(parity, n=24, **options):
    return SineCosineSpace(("x",), (LOW,), (HIGH,), (n,), (parity,), **options)


def product(parity, shape=(12, 15, 10)):
    count = len(parity)
    ends = (0.0, -1.0, 1.0)[:count], (2.0, 1.5, 1.7)[:count]
    return SineCosineSpace(tuple("xyz"[:count]), *ends, shape[:count], parity)


def wave(space, axis, x, k, order=0):
    """A derivative of one wave of the parity of an axis."""
    full = 2 if space.parity[axis] == "periodic" else 1
    rate = full * np.pi * k / (space.upper[axis] - space.lower[axis])
    shift = {"odd": 0.0, "even": np.pi / 2, "periodic": 0.4}[space.parity[axis]]
    return rate**order * np.sin(rate * (x - space.lower[axis]) + shift + order * np.pi / 2)


@pytest.mark.parametrize("n", [4, 5, 16, 17, 64])
def test_coefficients_are_the_transforms_of_scipy(n):
    fields = np.random.default_rng(n).standard_normal((3, n))
    cosines = line("even", n).coefficients(jnp.asarray(fields))
    np.testing.assert_allclose(cosines, np.asarray(scipy.fft.dct(fields, 2)) / 2, atol=1e-13 * n)
    sines = line("odd", n).coefficients(jnp.asarray(fields))
    exact = np.asarray(scipy.fft.dst(fields, 2)) / 2
    np.testing.assert_allclose(sines[:, 1:], exact[:, :-1], atol=1e-13 * n)
    np.testing.assert_array_equal(sines[:, 0], 0.0)
    again = line("even", n).to_physical(cosines)
    np.testing.assert_allclose(again, fields, atol=1e-14 * n)


@pytest.mark.parametrize("parity", ["odd", "even"])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_waves_are_exact(parity, order):
    space, k = line(parity), 7
    x = space.nodes(0)
    found = space.derivative(jnp.asarray(wave(space, 0, x, k)), (order,))
    exact = wave(space, 0, x, k, order)
    np.testing.assert_allclose(found, exact, atol=1e-12 * (k * WAVE) ** order)
    other = {"odd": "even", "even": "odd"}[parity] if order % 2 else parity
    assert space.differentiated((order,)).parity == (other,)


@pytest.mark.parametrize("parity", list(itertools.product(["odd", "even", "periodic"], repeat=2)))
def test_mixed_derivatives_and_interpolation_in_the_plane(parity):
    space = product(parity)
    x, y = np.random.default_rng(0).uniform([0.0, -1.0], [2.0, 1.5], (40, 2)).T
    mesh = np.meshgrid(*space.axes().values(), indexing="ij")
    field = wave(space, 0, mesh[0], 3) * wave(space, 1, mesh[1], 4)
    points = np.stack([x, y], axis=-1)
    exact = wave(space, 0, x, 3) * wave(space, 1, y, 4)
    np.testing.assert_allclose(space.interpolate(field[None], points)[:, 0], exact, atol=1e-13)
    slope = np.asarray(space.derivative(jnp.asarray(field), (1, 2)))
    found = space.differentiated((1, 2)).interpolate(slope[None], points)[:, 0]
    exact = wave(space, 0, x, 3, 1) * wave(space, 1, y, 4, 2)
    np.testing.assert_allclose(found, exact, atol=1e-10)


def test_three_dimensions_and_batches():
    space = product(("odd", "periodic", "even"))
    field = np.random.default_rng(1).standard_normal((2, 3, *space.shape))
    kept = space.to_physical(space.to_spectral(jnp.asarray(field)))
    assert space.to_spectral(kept).shape == (2, 3, *space.spectral_shape)
    again = space.to_physical(space.to_spectral(kept))
    np.testing.assert_allclose(again, kept, atol=1e-14)


@pytest.mark.parametrize("parity", ["odd", "even"])
def test_the_mirrored_function_is_periodic_with_the_same_derivatives(parity):
    space = line(parity)
    twice = FourierSpace(("x",), (LOW,), (2 * HIGH - LOW,), (2 * 24,))
    field = space.project(jnp.asarray(np.random.default_rng(2).standard_normal(24)))
    # The mirrored grid lies half a cell higher: by interpolation.
    sign = -1.0 if parity == "odd" else 1.0
    whole = np.concatenate([field, sign * np.asarray(field)[::-1]])
    slope = twice.derivative(jnp.asarray(whole), (1,))[:24]
    np.testing.assert_allclose(space.derivative(field, (1,)), slope, atol=1e-11)
    places = np.linspace(LOW, HIGH, 50)
    at = twice.weights(0, places - (HIGH - LOW) / 48) @ whole
    np.testing.assert_allclose(space.weights(0, places) @ np.asarray(field), at, atol=1e-12)


def test_interpolation_is_exact_at_nodes_and_obeys_the_walls():
    noise = np.random.default_rng(3).standard_normal((1, 24))
    for parity in ("odd", "even"):
        space = line(parity)
        nodes = space.nodes(0)[:, None]
        np.testing.assert_array_equal(space.interpolate(noise, nodes)[:, 0], noise[0])
    ends = np.array([LOW, HIGH])
    np.testing.assert_allclose(line("odd").weights(0, ends) @ noise[0], 0.0, atol=1e-13)
    near = line("even").weights(0, np.array([LOW - 1e-3, LOW + 1e-3])) @ noise[0]
    assert near[0] == pytest.approx(near[1], abs=1e-12)


def test_projection_kills_the_aliases_of_a_square():
    space = line("odd")
    sine = wave(space, 0, space.nodes(0), 14)
    # sin^2 is even: 1/2 - cos(28 x)/2, whose wavenumber 28 lies on 20 of 24 half waves.
    square = jnp.asarray(sine**2)
    even = line("even")
    np.testing.assert_allclose(even.project(square), 0.5, atol=1e-14)
    assert np.ptp(np.asarray(line("even", kept=1.0).project(square))) > 0.9


def test_means():
    rng = np.random.default_rng(4)
    for parity in ("odd", "even"):
        space = line(parity)
        field = rng.standard_normal(24)
        fine = np.polynomial.legendre.leggauss(200)
        places = (LOW + HIGH) / 2 + (HIGH - LOW) / 2 * fine[0]
        exact = fine[1] @ (space.weights(0, places) @ field) / 2
        assert space.mean_weights(0) @ field == pytest.approx(exact, abs=1e-13)
    assert np.ptp(line("even").mean_weights(0)) == 0.0
    assert np.ptp(line("odd").mean_weights(0)) > 0.0


def test_states_of_several_parities():
    parts = (product(("odd", "periodic")), product(("even", "periodic")), product(("odd",) * 2))
    with pytest.raises(InputError, match="odd and even"):
        SineCosineStates(parts)
    states = SineCosineStates((parts[0], parts[1], parts[0]))
    fields = jnp.asarray(np.random.default_rng(5).standard_normal((2, 3, *states.shape)))
    found = states.to_spectral(fields)
    for i, part in enumerate(states.parts):
        np.testing.assert_array_equal(found[:, i], part.to_spectral(fields[:, i]))
        np.testing.assert_array_equal(
            states.to_physical(found)[:, i], part.to_physical(found[:, i])
        )
    points = np.array([[0.3, 0.2], [1.1, -0.4]])
    rows = np.asarray(fields).reshape(-1, *states.shape)
    values = states.interpolate(rows, points)
    for i in range(6):
        one = states.parts[i % 3].interpolate(rows[i : i + 1], points)
        np.testing.assert_array_equal(values[:, i : i + 1], one)
    assert states.selected([1]).parts == (parts[1],)


def test_coefficients_of_walls_alone_are_real():
    states = SineCosineStates((line("even"),))
    found = states.to_spectral(jnp.ones((1, 24)))
    assert found.dtype == jnp.float64
    np.testing.assert_allclose(states.to_physical(found), 1.0, atol=1e-15)


def test_single_precision():
    with precision("float32"):
        space = line("odd")
        field = jnp.asarray(wave(space, 0, space.nodes(0), 2), jnp.float32)
        found = space.derivative(space.project(field), (1,))
        assert found.dtype == jnp.float32
        exact = 2 * WAVE * np.cos(2 * WAVE * (space.nodes(0) - LOW))
        np.testing.assert_allclose(found, exact, atol=1e-5)


def test_a_space_is_a_value_that_a_file_can_hold(tmp_path):
    states = SineCosineStates((line("odd"), line("even")))
    save_tree(tmp_path / "states", states)
    assert load_tree(tmp_path / "states") == states
    assert hash(states) == hash(load_tree(tmp_path / "states"))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"parity": ("uneven",)}, "'odd', 'even' or 'periodic'"),
        ({"parity": ("odd", "odd")}, "one word an axis"),
        ({"parity": ("odd",), "kept": 0.0}, "kept"),
        ({"parity": ("odd",), "shape": (2,)}, "too few"),
    ],
)
def test_what_does_not_fit_is_refused(options, part):
    values = {"names": ("x",), "lower": (0.0,), "upper": (1.0,), "shape": (8,), **options}
    with pytest.raises(InputError, match=part):
        SineCosineSpace(**values)
