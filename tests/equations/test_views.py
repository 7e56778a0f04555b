"""An equation, written once: its views test each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from continua.equations import (
    Equation,
    flux_form,
    nested_forward,
    residual,
    split_system,
)
from continua.equations.symbol import linear_expression
from continua.nets import MLP
from continua.spaces import FourierSpace


def scalar(text: str, parameters=(), coordinates=("t", "x"), **options) -> Equation:
    return Equation((text,), ("u",), coordinates, parameters, **options)


EQUATIONS = {
    "heat": scalar("u_t = nu*u_xx", ("nu",)),
    "heat in two dimensions": scalar("u_t = nu*lap(u)", ("nu",), ("t", "x", "y")),
    "advection": scalar("u_t + c*u_x = 0", ("c",)),
    "advection in two dimensions": scalar("u_t + c*u_x = nu*u_y", ("c", "nu"), ("t", "x", "y")),
    "burgers": scalar("u_t + u*u_x = nu*u_xx", ("nu",)),
    "burgers as a flux": scalar("u_t + d(u^2/2, x) = d(nu*u_x, x)", ("nu",)),
    "allen-cahn": scalar("u_t = nu*u_xx + 5*u - 5*u^3", ("nu",)),
    "kdv": scalar("u_t + 6*u*u_x + u_xxx = 0"),
    "kuramoto-sivashinsky": scalar("u_t + u*u_x + u_xx + nu*u_xxxx = 0", ("nu",)),
    "fisher-kpp": scalar("u_t = nu*u_xx + r*u*(1 - u)", ("nu", "r")),
    "sine-gordon": scalar("u_tt + c*u_t = u_xx - sin(u)", ("c",)),
    "porous medium": scalar("u_t = d(u^2*u_x, x)"),
    "variable coefficient": scalar("u_t = d((2 + sin(x))*u_x, x)"),
    "moving source": scalar("u_t = u_xx + cos(x - t)"),
    "two species": Equation(
        ("u_t = a*u_xx + u^2*v - u", "v_t = b*v_xx - u^2*v + 1"),
        ("u", "v"),
        ("t", "x"),
        ("a", "b"),
    ),
    "coupled linearly": Equation(
        ("u_t = v_x + u", "v_t = u_x - 2*v + nu*v_xx"), ("u", "v"), ("t", "x"), ("nu",)
    ),
}
VALUES = {"nu": 0.3, "c": 1.7, "r": 0.8, "a": 0.4, "b": 0.6}
EVERY = pytest.mark.parametrize("name", EQUATIONS)


def parameters_of(equation: Equation) -> dict[str, float]:
    return {p: VALUES[p] for p in equation.parameters}


def space_of(equation: Equation) -> FourierSpace:
    d = len(equation.space)
    return FourierSpace(equation.space, (0.0,) * d, (2 * np.pi,) * d, (48,) * d)


def band_limited(equation: Equation, key):
    """A function of time and space that the grid holds exactly, products of three included."""
    waves = np.asarray([[1, 0], [2, 1], [3, -1], [0, 2]])[:, : len(equation.space)]
    amplitudes = jax.random.normal(key, (4, len(equation.unknowns))) / 3

    def function(point):
        phases = waves.astype(float) @ point[1:] + 0.3 * jnp.arange(4.0) + point[0]
        return 0.2 + jnp.sin(phases) @ amplitudes

    return function


@EVERY
def test_residual_and_spectral_right_hand_side_agree(name, key):
    equation = EQUATIONS[name]
    space, parameters, t = space_of(equation), parameters_of(equation), jnp.asarray(0.4)
    function = band_limited(equation, key)
    nodes = jnp.stack([m.reshape(-1) for m in jnp.meshgrid(*space.axes().values(), indexing="ij")])
    points = jnp.concatenate([jnp.full((1, nodes.shape[1]), t), nodes]).T
    system = equation.first_order()
    # The states are the unknowns and their lower time derivatives.
    m = max(equation.time_orders.values())
    first = (1, *(0,) * len(equation.space))
    orders = [(0, *first[1:]), first, (2, *first[1:])][: m + 1]
    rows = jax.vmap(lambda p: nested_forward(function, p, orders))(points)  # (n, m+1, c)
    shape = space.shape
    states = jnp.concatenate([rows[:, k].T.reshape(-1, *shape) for k in range(m)])
    rates = jnp.concatenate([rows[:, k + 1].T.reshape(-1, *shape) for k in range(m)])
    right = equation.semidiscrete(space)(t, states, parameters)
    assert right.shape == (len(system.states), *shape)
    pointwise = residual(equation, function, points, parameters)
    count = len(equation.unknowns)
    spectral = (rates - right)[-count:].reshape(count, -1).T
    scale = float(jnp.max(jnp.abs(right)))
    np.testing.assert_allclose(spectral, pointwise, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose((rates - right)[:-count], 0, atol=1e-12 * scale)


@EVERY
def test_symbol_and_nonlinearity_are_the_right_hand_side(name, key):
    equation = EQUATIONS[name]
    space, parameters, t = space_of(equation), parameters_of(equation), jnp.asarray(0.4)
    symbol, nonlinear, parts = equation.split(space)
    states = len(parts.system.states)
    y = jax.random.normal(key, (states, *space.shape))
    y_hat = space.to_spectral(jnp.stack([space.project(f) for f in y]))
    linear = symbol(parameters)
    if parts.is_diagonal:
        assert linear.shape == (states, *space.spectral_shape)
        product = linear * y_hat
    else:
        assert linear.shape == (states, states, *space.spectral_shape)
        product = jnp.einsum("ij...,j...->i...", linear, y_hat)
    found = space.to_physical(product + nonlinear(t, y_hat, parameters))
    right = equation.semidiscrete(space)(t, space.to_physical(y_hat), parameters)
    exact = space.to_physical(space.to_spectral(right))
    scale = float(jnp.max(jnp.abs(exact)))
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-11 * scale)


@EVERY
def test_linear_part_and_remainder_are_the_whole(name):
    system = EQUATIONS[name].first_order()
    parts = split_system(system)
    for whole, linear, rest in zip(
        system.right, linear_expression(parts), parts.remainder.right, strict=True
    ):
        gap = sympy.sympify(whole).doit() - linear - sympy.sympify(rest).doit()
        assert sympy.simplify(sympy.expand(gap)) == 0


@pytest.mark.parametrize(
    ("name", "linear"),
    [("heat", True), ("advection", True), ("coupled linearly", True), ("burgers", False)]
    + [("variable coefficient", False), ("moving source", False), ("kdv", False)],
)
def test_what_is_linear_with_constant_coefficients(name, linear):
    assert split_system(EQUATIONS[name].first_order()).is_linear == linear


@EVERY
def test_flux_form_is_the_same_equation(name):
    equation = EQUATIONS[name]
    form = flux_form(equation)
    for flux, plain in zip(form.first_order().expanded, form.system.expanded, strict=True):
        assert sympy.simplify(sympy.expand(flux - plain)) == 0


@pytest.mark.parametrize("name", ["heat", "burgers", "burgers as a flux", "kdv", "porous medium"])
def test_conservation_laws_have_no_source(name):
    form = flux_form(EQUATIONS[name])
    assert form.is_conservative
    assert not flux_form(EQUATIONS["fisher-kpp"]).is_conservative


def test_flux_of_burgers():
    (row,) = flux_form(EQUATIONS["burgers"]).fluxes
    t, x, nu = (sympy.Symbol(s, real=True) for s in ("t", "x", "nu"))
    u = sympy.Function("u", real=True)(t, x)
    assert sympy.expand(row[0] - (u**2 / 2 - nu * u.diff(x))) == 0


def test_fourth_order_residual_of_a_network(key):
    equation = EQUATIONS["kuramoto-sivashinsky"]
    net = MLP(2, 1, width=64, depth=3, key=key)
    points = jax.random.uniform(key, (50, 2), minval=-1, maxval=1)
    found = jax.jit(lambda p: residual(equation, net, p, {"nu": 0.3}))(points)
    exact = residual(equation, net, points, {"nu": 0.3}, differentiate=nested_forward)
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-10)


def test_residual_vanishes_on_an_exact_solution():
    def solution(point):
        t, x = point
        return jnp.exp(-0.3 * t)[None] * jnp.sin(x)

    points = jnp.asarray([[0.1, 0.2], [0.5, -1.0], [2.0, 3.0]])
    values = residual(EQUATIONS["heat"], solution, points, {"nu": 0.3})
    np.testing.assert_allclose(values, 0, atol=1e-15)


def test_residual_of_parameters_has_a_gradient():
    def solution(point):
        return jnp.exp(-point[0])[None] * jnp.sin(point[1])

    points = jnp.asarray([[0.1, 0.2]])

    def value(nu):
        return residual(EQUATIONS["heat"], solution, points, {"nu": nu})[0, 0]

    slope = jax.grad(value)(jnp.asarray(0.3))
    np.testing.assert_allclose(slope, np.exp(-0.1) * np.sin(0.2), rtol=1e-13)
