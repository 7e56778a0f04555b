"""Finite differences: orders, matrices, interpolation and walls."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.spaces import Boundary, FiniteDifferenceSpace, WallCondition
from continua.spaces.stencils import centred, closure, stencil, summation_by_parts


def line(n, order=4, periodic=False, upper=2.0):
    return FiniteDifferenceSpace(("x",), (0.0,), (upper,), (n,), (periodic,), order)


def given(function):
    return lambda where, parameters: function(where)


def number(value):
    return lambda where, parameters: value


@pytest.mark.parametrize("order", [2, 4, 6])
@pytest.mark.parametrize("derivative", [1, 2, 3, 4])
@pytest.mark.parametrize("periodic", [True, False])
def test_orders_of_derivatives(order, derivative, periodic):
    # Between walls a power whose error has one term alone, so that no finer grid, where
    # rounding h^-n eps would count, is needed to see it.
    errors = []
    power = derivative + order
    for cells in (60, 120) if periodic else (20, 40):
        space = line(cells if periodic else cells + 1, order, periodic)
        x = np.asarray(space.points["x"])
        if periodic:
            k = 3 * np.pi
            field = np.sin(k * x + 0.3)
            exact = k**derivative * np.sin(k * x + 0.3 + derivative * np.pi / 2)
        else:
            field = x**power
            exact = math.factorial(power) / math.factorial(order) * x**order
        found = np.asarray(space.derivative(jnp.asarray(field), (derivative,)))
        errors.append(np.max(np.abs(found - exact)))
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("order", [2, 4, 6])
def test_stencils_are_exact_on_polynomials_of_their_degree(order):
    for derivative in (1, 2, 3, 4):
        for row in (centred(derivative, order), *closure(derivative, order)):
            assert sum(row) == pytest.approx(0.0, abs=1e-10)
    x = np.arange(7.0)
    for n in range(7):
        exact = n * (n - 1) * 2.0 ** (n - 2) if n > 1 else 0.0
        assert np.dot(stencil(2, 7, 2), x**n) == pytest.approx(exact, abs=1e-10 * 6.0**n)


@pytest.mark.parametrize("order", [2, 4, 6])
def test_sums_by_parts_leave_wall_terms(order):
    size = 25
    space = FiniteDifferenceSpace(("x",), (0.0,), (1.0,), (size,), (False,), order, by_parts=True)
    derivative, (_, ends) = space.matrix((1,)).toarray(), summation_by_parts(order)
    norm = np.ones(size)
    norm[: len(ends)] = ends
    norm[size - len(ends) :] = ends[::-1]
    product = (norm[:, None] * derivative) / (size - 1)
    walls = np.zeros((size, size))
    walls[0, 0], walls[-1, -1] = -1.0, 1.0
    np.testing.assert_allclose(product + product.T, walls, atol=1e-13)
    x = np.linspace(0.0, 1.0, size)
    for n in range(order // 2 + 1):
        exact = n * x ** max(n - 1, 0)
        np.testing.assert_allclose(derivative @ x**n, exact, atol=1e-11)
    if order == 4:  # the published rows
        rows = summation_by_parts(4)[0]
        np.testing.assert_allclose(rows[0, :4], [-24 / 17, 59 / 34, -4 / 17, -3 / 34], atol=1e-14)
        np.testing.assert_allclose(ends, np.array([17, 59, 43, 49]) / 48, atol=1e-14)


@pytest.mark.parametrize("by_parts", [False, True])
@pytest.mark.parametrize("periodic", [(True, False), (False, True)])
@pytest.mark.parametrize("orders", [(1, 0), (0, 2), (1, 1), (3, 0), (2, 4)])
def test_sparse_matrices_are_the_derivatives(periodic, orders, by_parts):
    sizes = ((0.0, 1.0), (1.0, 3.0), (14, 17))
    space = FiniteDifferenceSpace(("x", "y"), *sizes, periodic, 4, by_parts)
    field = np.random.default_rng(0).standard_normal(space.shape)
    applied = np.asarray(space.derivative(jnp.asarray(field), orders)).ravel()
    product = space.matrix(orders) @ field.ravel()
    np.testing.assert_allclose(product, applied, rtol=1e-10, atol=1e-9 * np.max(np.abs(applied)))


@pytest.mark.parametrize("order", [2, 4, 6])
def test_interpolation_holds_polynomials_and_wraps_around(order):
    space = line(21, order)
    x = space.nodes(0)
    places = np.random.default_rng(0).uniform(0, 2, (50, 1))
    found = space.interpolate(np.stack([x ** (order + 1), x**2]), places)
    np.testing.assert_allclose(found[:, 0], places[:, 0] ** (order + 1), atol=1e-10)
    noise = np.random.default_rng(1).standard_normal((1, 21))
    np.testing.assert_array_equal(space.interpolate(noise, x[:, None])[:, 0], noise[0])
    ring = line(21, order, periodic=True)
    values = np.random.default_rng(2).standard_normal((1, 21))
    here = ring.interpolate(values, places)
    np.testing.assert_allclose(ring.interpolate(values, places + 2.0), here, atol=1e-12)
    np.testing.assert_allclose(ring.interpolate(values, np.array([[2.0]]))[0, 0], values[0, 0])


def test_a_million_points_of_a_product_grid_are_quick():
    space = FiniteDifferenceSpace(("x", "y"), (0.0, 0.0), (1.0, 1.0), (64, 64), (False, False))
    axis = np.linspace(0, 1, 1000)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    x, y = np.meshgrid(space.nodes(0), space.nodes(1), indexing="ij")
    found = space.interpolate((np.sin(x) * np.cos(y))[None], points)
    np.testing.assert_allclose(found[:, 0], np.sin(points[:, 0]) * np.cos(points[:, 1]), atol=1e-10)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("kind", ["dirichlet", "neumann", "robin"])
def test_conditions_hold_on_the_wall(side, kind):
    coefficients = {"dirichlet": {0: 2.0}, "neumann": {1: 3.0}, "robin": {0: 1.0, 1: -0.5}}[kind]
    space = line(41)
    x = np.asarray(space.points["x"])
    field = np.sin(x + 0.2)
    place = [0.0, 2.0][side]
    slopes = [np.sin(place + 0.2), np.cos(place + 0.2)]
    value = sum(a * slopes[n] for n, a in coefficients.items())
    condition = WallCondition(
        0,
        0,
        side,
        tuple((n, number(a)) for n, a in coefficients.items()),
        given(lambda where: value * (1.0 + where["t"])),
    )
    boundary = Boundary(space, (condition,), "t")
    wall = -1 if side else 0
    wrong = jnp.asarray(field).at[wall].set(7.0)
    found = boundary.impose(0.0, wrong[None], {})[0]
    np.testing.assert_allclose(found, field, atol=1e-6)
    doubled = boundary.impose(1.0, 2 * wrong[None], {})[0]
    np.testing.assert_allclose(doubled, 2 * field, atol=2e-6)
    free = boundary.free(1)
    assert not free[0, wall]
    assert free.sum() == 40


def test_two_conditions_on_a_side_set_two_nodes():
    space = line(61, 6, upper=1.0)
    x = np.asarray(space.points["x"])
    conditions = tuple(WallCondition(0, 0, 0, ((n, number(1.0)),), number(1.0)) for n in (0, 1))
    boundary = Boundary(space, conditions)
    wrong = jnp.asarray(np.exp(x)).at[:2].set(9.0)
    found = boundary.impose(0.0, wrong[None], {})[0]
    np.testing.assert_allclose(found, np.exp(x), atol=1e-9)
    assert boundary.free(1).sum() == 59


def test_walls_of_a_plane_may_vary_along_them():
    space = FiniteDifferenceSpace(("x", "y"), (0.0, 0.0), (1.0, 1.0), (21, 25), (False, True), 6)
    x, y = (np.asarray(space.points[c]) for c in ("x", "y"))
    exact = np.exp(x) * np.sin(2 * np.pi * y)
    sides = []
    for side, place in ((0, 0.0), (1, 1.0)):
        wall = given(lambda where, p=place: np.exp(p) * jnp.sin(2 * jnp.pi * where["y"]))
        sides.append(WallCondition(1, 0, side, ((1, number(1.0)),), wall))
    boundary = Boundary(space, tuple(sides))
    y0 = jnp.asarray(np.stack([0 * exact, exact])).at[1, 0].set(3.0).at[1, -1].set(-3.0)
    found = boundary.impose(0.0, y0, {})
    np.testing.assert_allclose(found[1], exact, atol=1e-8)
    np.testing.assert_array_equal(found[0], 0.0)


def test_imposing_is_differentiable_and_compiles():
    space = line(21)
    condition = WallCondition(0, 0, 0, ((1, number(1.0)),), lambda w, p: p["g"] * w["t"])
    boundary = Boundary(space, (condition,), "t")

    def wall(g):
        return boundary.impose(2.0, jnp.zeros((1, 21)), {"g": g})[0, 0]

    slope = jax.jit(jax.grad(wall))(jnp.asarray(1.0))
    np.testing.assert_allclose(slope, wall(1.5) - wall(0.5), rtol=1e-10)


def test_single_precision():
    with precision("float32"):
        space = line(41)
        condition = WallCondition(0, 0, 0, ((0, number(1.0)),), number(1.0))
        y = jnp.exp(space.points["x"])[None]
        found = Boundary(space, (condition,)).impose(0.0, y, {})
        assert found.dtype == jnp.float32
        slope = space.derivative(found[0], (1,))
        assert slope.dtype == jnp.float32
        np.testing.assert_allclose(slope, y[0], rtol=1e-3)


def test_impossible_spaces_are_refused():
    with pytest.raises(InputError, match="order 3"):
        line(20, 3)
    with pytest.raises(InputError, match="too few"):
        line(5, 6).derivative(jnp.zeros(5), (2,))
    with pytest.raises(InputError, match="no walls"):
        Boundary(line(20, periodic=True), (WallCondition(0, 0, 0, ((0, number(1.0)),), number(0)),))
