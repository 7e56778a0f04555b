"""Integrals, means, fractional Laplacians and Hilbert transforms in the text of an equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from continua.core.errors import InputError
from continua.equations import Equation, flux_form, residual, split_system
from continua.equations.nonlocal_terms import SpaceMean
from continua.equations.symbol import linear_expression
from continua.spaces import (
    ChebyshevSpace,
    FiniteDifferenceSpace,
    FourierSpace,
    SineCosineSpace,
    SineCosineStates,
)

RING = (2 * np.pi,)


def scalar(text, parameters=(), coordinates=("t", "x")):
    return Equation((text,), ("u",), coordinates, parameters)


EQUATIONS = {
    "mean": scalar("u_t = nu*u_xx + u - u^3 - mean(u - u^3)", ("nu",)),
    "integral": scalar("u_t = nu*u_xx + u*(1 - integral(u, x))", ("nu",)),
    "inside a flux": scalar("u_t = d(u*mean(u^2) + nu*u_x, x)", ("nu",)),
    "along one axis": scalar("u_t = lap(u) + mean(u^2, x)*u_y", (), ("t", "x", "y")),
    "of a mean": scalar("u_t = integral((u - mean(u))^2)*u_xx"),
    "fractional": scalar("u_t = -nu*fraclap(u, s) + u^2", ("nu", "s")),
    "fractional of a product": scalar("u_t = -fraclap(u^2, 3/2)"),
    "fractional flux": scalar("u_t = u*fraclap(u_x, s) - 2*fraclap(u_x, s)", ("s",)),
    "hilbert": scalar("u_t + 2*u*u_x = hilbert(u_xx)"),
    "wave": scalar("u_tt = -fraclap(u, 1) - mean(u^2)*u"),
    "coupled": Equation(
        ("u_t = hilbert(v) + mean(u*v)", "v_t = fraclap(u, s) - v^3"),
        ("u", "v"),
        ("t", "x"),
        ("s",),
    ),
}
VALUES = {"nu": 0.3, "s": 1.4}
EVERY = pytest.mark.parametrize("name", EQUATIONS)


def parameters_of(equation):
    return {p: VALUES[p] for p in equation.parameters}


def space_of(equation, nodes=24):
    d = len(equation.space)
    return FourierSpace(equation.space, (0.0,) * d, RING * d, (nodes,) * d)


@EVERY
def test_symbol_and_nonlinearity_are_the_right_hand_side(name, key):
    equation = EQUATIONS[name]
    space, parameters, t = space_of(equation), parameters_of(equation), jnp.asarray(0.4)
    symbol, nonlinear, parts = equation.split(space)
    y = jax.random.normal(key, (len(parts.system.states), *space.shape))
    y_hat = space.to_spectral(y)
    linear = symbol(parameters)
    product = linear * y_hat
    if not parts.is_diagonal:
        product = jnp.einsum("ij...,j...->i...", linear, y_hat)
    found = space.to_physical(product + nonlinear(t, y_hat, parameters))
    right = equation.semidiscrete(space)(t, space.to_physical(y_hat), parameters)
    exact = (
        space.project(right[0]) if len(right) == 1 else jnp.stack(list(map(space.project, right)))
    )
    scale = float(jnp.max(jnp.abs(exact)))
    np.testing.assert_allclose(found.reshape(exact.shape), exact, rtol=0, atol=1e-12 * scale)


@EVERY
def test_linear_part_and_remainder_are_the_whole(name):
    system = EQUATIONS[name].first_order()
    parts = split_system(system)
    for whole, linear, rest in zip(
        system.right, linear_expression(parts), parts.remainder.right, strict=True
    ):
        gap = sympy.sympify(whole).doit() - linear - sympy.sympify(rest).doit()
        assert sympy.simplify(sympy.expand(gap)) == 0


@EVERY
def test_flux_form_is_the_same_equation(name):
    form = flux_form(EQUATIONS[name])
    for flux, plain in zip(form.first_order().expanded, form.system.expanded, strict=True):
        assert sympy.simplify(sympy.expand(flux - plain)) == 0


def test_which_terms_are_stepped_exactly():
    parts = split_system(EQUATIONS["fractional"].first_order())
    ((term,),) = parts.multiplied[0]
    assert str(term[0]) == "-nu"
    assert not split_system(EQUATIONS["mean"].first_order()).is_linear
    assert split_system(scalar("u_t = hilbert(u_xx) - fraclap(u, 1)").first_order()).is_linear
    assert not split_system(EQUATIONS["coupled"].first_order()).is_diagonal
    # Constant coefficients alone: u*fraclap(u_x, s) stays.
    rest = split_system(EQUATIONS["fractional flux"].first_order())
    assert len(rest.multiplied[0][0]) == 1
    assert rest.multiplied[0][0][0][1] == (1,)


def rate(text, field, space, parameters=(), t=0.0):
    """The right-hand side of one equation at the nodes."""
    equation = scalar(text, tuple(parameters), ("t", *space.names))
    values = dict(parameters) if parameters else {}
    return np.asarray(equation.semidiscrete(space)(jnp.asarray(t), field[None], values))[0]


def test_multipliers_of_waves():
    space = FourierSpace(("x",), (1.0,), (4.0,), (32,))
    k, x = 2 * np.pi / 3 * 4, space.nodes(0)
    field = jnp.asarray(np.cos(k * x + 0.2) + 3.0)
    wave, turned = np.cos(k * x + 0.2), np.sin(k * x + 0.2)
    for s in (0.5, 1.0, 2.0, 4.0):
        found = rate("u_t = fraclap(u, s)", field, space, {"s": s})
        np.testing.assert_allclose(found, k**s * wave, atol=1e-12 * k**s)
    np.testing.assert_allclose(rate("u_t = hilbert(u)", field, space), turned, atol=1e-13)
    twice = rate("u_t = hilbert(hilbert(u))", field, space)
    np.testing.assert_allclose(twice, -wave, atol=1e-13)
    rough = jnp.asarray(np.random.default_rng(0).standard_normal(32))
    whole = rate("u_t = fraclap(u, 2) + u_xx", rough, space)
    np.testing.assert_allclose(whole, 0.0, atol=1e-11)


def test_the_fractional_laplacian_in_the_plane_is_isotropic():
    space = FourierSpace(("x", "y"), (0.0, 0.0), RING * 2, (16, 16))
    x, y = np.meshgrid(*space.axes().values(), indexing="ij")
    wave = np.sin(3 * x + 4 * y)
    found = rate("u_t = fraclap(u, 1)", jnp.asarray(wave), space)
    np.testing.assert_allclose(found, 5 * wave, atol=1e-12)


@pytest.mark.parametrize("order", [2, 4, 6])
def test_integrals_between_walls_are_of_the_order_of_the_stencils(order):
    errors = []
    for n in (21, 41):
        space = FiniteDifferenceSpace(("x",), (0.0,), (2.0,), (n,), (False,), order)
        field = jnp.asarray(np.exp(np.sin(2 * space.nodes(0))))
        found = rate("u_t = integral(u^2)", field, space)
        x, w = np.polynomial.legendre.leggauss(60)
        errors.append(abs(found[0] - w @ np.exp(2 * np.sin(2 * (x + 1)))))
        assert np.ptp(found) == 0.0
    assert np.log2(errors[0] / errors[1]) > order - 0.5
    assert errors[1] < {2: 1e-2, 4: 1e-4, 6: 1e-5}[order]


def test_integrals_at_chebyshev_nodes_are_those_of_clenshaw_and_curtis():
    space = ChebyshevSpace(("x",), (-1.0,), (1.0,), (5,))
    # Simpson's rule at three nodes has 1/6, 4/6, 1/6; at five 1/15, 8/15, 12/15 of 2.
    exact = np.array([1 / 15, 8 / 15, 12 / 15, 8 / 15, 1 / 15]) / 2
    np.testing.assert_allclose(space.mean_weights(0), exact, atol=1e-15)
    fine = ChebyshevSpace(("x",), (0.0,), (3.0,), (33,))
    field = jnp.asarray(np.exp(fine.nodes(0)))
    found = rate("u_t = integral(u, x) - 3*mean(u)", field, fine)
    np.testing.assert_allclose(found, 0.0, atol=1e-13)
    found = rate("u_t = mean(u)", field, fine)
    np.testing.assert_allclose(found, (np.exp(3.0) - 1) / 3, rtol=1e-14)


def test_integrals_along_one_axis():
    space = FourierSpace(("x", "y"), (0.0, 0.0), (2.0, 3.0), (16, 12))
    x, y = np.meshgrid(*space.axes().values(), indexing="ij")
    field = jnp.asarray((2 + np.cos(np.pi * x)) * (1 + np.sin(2 * np.pi * y / 3)))
    along = rate("u_t = integral(u, x)", field, space)
    np.testing.assert_allclose(along, 4 * (1 + np.sin(2 * np.pi * y / 3)), atol=1e-13)
    np.testing.assert_allclose(rate("u_t = integral(u)", field, space), 12.0, atol=1e-13)
    np.testing.assert_allclose(rate("u_t = integral(u, x, y)", field, space), 12.0, atol=1e-13)
    np.testing.assert_allclose(rate("u_t = mean(mean(u, x), y)", field, space), 2.0, atol=1e-14)


def test_derivatives_of_nonlocal_terms():
    coordinates = ("t", "x", "y")
    parsed = scalar(
        "u_t = d(mean(u^2, x), x) + d(mean(u, x), y) + d(fraclap(u, 1), x)", (), coordinates
    )
    (expanded,) = parsed.expanded
    again = scalar("u_t = mean(u_y, x) + fraclap(u_x, 1)", (), coordinates)
    assert sympy.expand(expanded - again.expanded[0]) == 0


def test_what_is_linear():
    assert scalar("u_t = mean(u) + fraclap(u, 1)").is_linear
    assert not scalar("u_t = u*mean(u)").is_linear
    assert not scalar("u_t = mean(u^2)").is_linear


def test_gradients_pass_through(key):
    equation = EQUATIONS["fractional"]
    space = space_of(equation)
    y = jax.random.normal(key, (1, 24))

    def size(s):
        return jnp.sum(equation.semidiscrete(space)(0.0, y, {"nu": 0.3, "s": s}) ** 2)

    slope = (size(1.4 + 1e-5) - size(1.4 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(size)(1.4), slope, rtol=1e-7)


def test_views_of_points_refuse():
    points = jnp.zeros((3, 2))
    for name, word in (("mean", "mean"), ("fractional", "fraclap"), ("hilbert", "hilbert")):
        equation = EQUATIONS[name]
        assert equation.is_nonlocal
        with pytest.raises(InputError, match=rf"{word}\(...\) is nonlocal: .* at points"):
            residual(equation, lambda p: p[:1], points, parameters_of(equation))
    assert not scalar("u_t = u_xx").is_nonlocal


@pytest.mark.parametrize("name", ["fractional", "hilbert"])
def test_spaces_without_wavenumbers_refuse(name):
    space = ChebyshevSpace(("x",), (0.0,), (1.0,), (9,))
    right = EQUATIONS[name].semidiscrete(space)
    with pytest.raises(InputError, match="no form on a ChebyshevSpace"):
        right(0.0, jnp.ones((1, 9)), VALUES)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("u_t = mean()", "takes an expression first"),
        ("u_t = mean(u, t)", "space coordinates"),
        ("u_t = integral(u, x, x)", "space coordinates"),
        ("u_t = mean(grad(u))*u", "no vector"),
        ("u_t = fraclap(u)", "takes an expression and a power"),
        ("u_t = fraclap(u, 5)", r"\(0, 4\], got 5"),
        ("u_t = fraclap(u, u)", "a number or parameter"),
        ("u_t = fraclap(u, x)", "a number or parameter"),
        ("u_t = hilbert(u, x)", "takes one expression"),
        ("u_t = mean + u", r"write mean\(...\)"),
    ],
)
def test_what_is_no_nonlocal_term_is_refused(text, part):
    with pytest.raises(InputError, match=part):
        scalar(text)


def test_where_nonlocal_terms_cannot_stand():
    with pytest.raises(InputError, match="in one space coordinate"):
        scalar("u_t = hilbert(u)", (), ("t", "x", "y"))
    with pytest.raises(InputError, match="needs a space coordinate"):
        scalar("u_t = mean(u)", (), ("t",))
    with pytest.raises(InputError, match="mean stands in equations, in no other formula"):
        Equation(("u_t = q",), ("u",), ("t", "x"), definitions={"q": "mean(x)"})
    with pytest.raises(InputError, match="cannot be solved for"):
        scalar("u_t + mean(u_t) = u_xx").first_order()
    with pytest.raises(InputError, match="'mean' is taken"):
        scalar("u_t = mean*u", ("mean",))


def test_latex_and_text():
    latex = scalar(
        "u_t = fraclap(u, s) + hilbert(u_x) + mean(u + u^2) + integral(u)", ("s",)
    ).latex()
    for part in (r"\left(-\Delta\right)^{\frac{s}{2}} u", r"\mathcal{H} u_{x}", r"\int u\,dx"):
        assert part in latex
    assert r"\left\langle" in latex
    equation = EQUATIONS["coupled"]
    t, x = (sympy.Symbol(c, real=True) for c in "tx")
    u = sympy.Function("u", real=True)(t, x)
    given = sympy.Eq(u.diff(t), sympy.Add(u, sympy.Mul(-1, SpaceMean(u**2, x))))
    assert Equation(given, "u", ("t", "x")).symbolic == scalar("u_t = u - mean(u^2)").symbolic
    assert equation.expressions[0] == "u_t = hilbert(v) + mean(u*v)"


def test_fluxes_between_walls_need_a_parity():
    space = SineCosineSpace(("x",), (0.0,), (1.0,), (16,), ("odd",))
    odd = SineCosineStates((space,))
    with pytest.raises(InputError, match="neither odd nor even"):
        scalar("u_t = d(u + u^2, x)").semidiscrete(odd)
    u = jnp.asarray(np.sin(np.pi * space.nodes(0)))[None]
    found = scalar("u_t = d(u^2, x) + u*integral(u)").semidiscrete(odd)(0.0, u, {})
    exact = np.pi * np.sin(2 * np.pi * space.nodes(0)) + 2 / np.pi * u[0]
    np.testing.assert_allclose(found[0], exact, atol=1e-13)
