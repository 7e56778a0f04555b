"""Chebyshev spaces: exact for polynomials, spectral for analytic functions."""

import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.core.serialise import load_tree, save_tree
from continua.spaces.chebyshev import ChebyshevBoundary, ChebyshevSpace
from continua.spaces.walls import WallCondition

LINE = ChebyshevSpace(("x",), (-1.0,), (2.0,), (12,))
POWERS = np.polynomial.Polynomial(np.random.default_rng(0).standard_normal(12))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_of_polynomials_are_exact(order):
    x = LINE.nodes(0)
    found = LINE.derivative(jnp.asarray(POWERS(x)), (order,))
    exact = POWERS.deriv(order)(x)
    np.testing.assert_allclose(found, exact, atol=1e-12 * 12**order * np.abs(exact).max())
    np.testing.assert_allclose(LINE.matrix(0, order).sum(axis=1), 0.0, atol=1e-9)


def test_values_in_between_are_those_of_the_polynomial():
    places = np.r_[np.linspace(-1, 2, 31), LINE.nodes(0)]
    found = LINE.interpolate(POWERS(LINE.nodes(0))[None], places[:, None])[:, 0]
    np.testing.assert_allclose(found, POWERS(places), rtol=1e-12, atol=1e-11)
    np.testing.assert_array_equal(found[31:], POWERS(LINE.nodes(0)))


def test_errors_fall_faster_than_any_power():
    errors = []
    for size in (16, 32, 64):
        space = ChebyshevSpace(("x",), (-1.0,), (2.0,), (size,))
        x = space.nodes(0)
        bump = np.exp(np.sin(2 * x))
        slope = space.derivative(jnp.asarray(bump), (1,))
        errors.append(np.abs(slope - 2 * np.cos(2 * x) * bump).max())
    assert errors[1] < 1e-4 * errors[0]
    assert errors[2] < 1e-12


def test_mixed_derivatives_in_the_plane_and_single_precision():
    plane = ChebyshevSpace(("x", "y"), (0.0, -1.0), (1.0, 1.0), (8, 9))
    x, y = (np.asarray(p) for p in plane.points.values())
    found = plane.derivative(jnp.asarray(x**3 * y**4), (1, 2))
    np.testing.assert_allclose(found, 36 * x**2 * y**2, atol=1e-11)
    with precision("float32"):
        found = plane.derivative(jnp.asarray(x**3 * y**4, jnp.float32), (1, 0))
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, 3 * x**2 * y**4, atol=2e-5)


def condition(side, coefficients, value):
    """A condition with numbers."""
    pairs = tuple((n, lambda where, p, a=a: a) for n, a in coefficients.items())
    return WallCondition(0, 0, side, pairs, lambda where, p: value)


def test_conditions_set_the_outermost_nodes():
    space = ChebyshevSpace(("x",), (0.0,), (2.0,), (16,))
    x = space.nodes(0)
    conditions = (
        condition(0, {0: 2.0, 1: -1.0}, 2 - 1.5),
        condition(1, {1: 1.0}, 1.5 * np.cos(3.0)),
        condition(1, {0: 1.0}, 1 + np.sin(3.0)),
    )
    boundary = ChebyshevBoundary(space, conditions)
    field = 1 + np.sin(1.5 * x)
    free = boundary.free(1)
    np.testing.assert_array_equal(np.flatnonzero(~free[0]), [0, 14, 15])
    found = boundary.impose(0.0, jnp.where(free, field, 7.0), {})
    np.testing.assert_allclose(found[0], field, atol=1e-9)


def test_a_space_is_a_value_that_a_file_can_hold(tmp_path):
    save_tree(tmp_path / "space", LINE)
    assert load_tree(tmp_path / "space") == LINE
    with pytest.raises(InputError, match="ChebyshevSpace"):
        ChebyshevSpace(("x",), (1.0,), (1.0,), (8,))
    plane = ChebyshevSpace(("x", "y"), (0.0, 0.0), (1.0, 1.0), (8, 8))
    with pytest.raises(InputError, match="expected one"):
        ChebyshevBoundary(plane, ())
