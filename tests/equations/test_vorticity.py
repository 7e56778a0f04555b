"""Vorticity and stream function: what transport keeps, both signs, an outside solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.precision import precision
from continua.equations import Equation
from continua.equations.vorticity import vorticity_form
from continua.integrate import etdrk4
from continua.problems.library.fluids import kolmogorov_flow, taylor_green
from continua.spaces import FourierSpace

SIDE = 2 * np.pi
PLANE = FourierSpace(("x", "y"), (0.0, 0.0), (SIDE, SIDE), (32, 36))


def equation(transport="psi_y*w_x - psi_x*w_y", constraint="lap(psi) = -w", right="nu*w_xx"):
    return Equation(
        (f"w_t + {transport} = {right}", constraint), ("w", "psi"), ("t", "x", "y"), ("nu",)
    )


@pytest.fixture(scope="module")
def form():
    return vorticity_form(equation())


@pytest.fixture(scope="module")
def w_hat():
    noise = np.random.default_rng(0).standard_normal(PLANE.shape)
    return PLANE.to_spectral(jnp.asarray(noise - noise.mean()))


def inner(a_hat, b_hat):
    return float(jnp.mean(PLANE.to_physical(a_hat) * PLANE.to_physical(b_hat)))


def test_transport_keeps_energy_and_enstrophy(form, w_hat):
    change, psi = form.transport(PLANE)(w_hat), form.stream_function(PLANE, w_hat)
    size = np.sqrt(inner(change, change))
    assert abs(inner(change, w_hat)) < 1e-13 * size
    assert abs(inner(change, psi)) < 1e-13 * size
    assert size > 0.1


def test_transport_is_the_product_that_the_formula_says(form, w_hat):
    psi = form.stream_function(PLANE, w_hat)
    np.testing.assert_allclose(
        (PLANE.symbol((2, 0)) + PLANE.symbol((0, 2))) * psi, -w_hat, atol=1e-12
    )

    def at_nodes(a_hat, orders):
        return PLANE.to_physical(PLANE.symbol(orders) * a_hat)

    x, y = (1, 0), (0, 1)
    product = at_nodes(psi, y) * at_nodes(w_hat, x) - at_nodes(psi, x) * at_nodes(w_hat, y)
    np.testing.assert_allclose(
        form.transport(PLANE)(w_hat), -PLANE.to_spectral(product), atol=1e-11
    )


def test_both_signs_are_known_and_other_equations_are_none(form):
    other = vorticity_form(equation("psi_x*w_y - psi_y*w_x", "2*w - 2*lap(psi) = 0"))
    assert (form.sign, other.sign) == (-1, 1)
    assert other.rest == form.rest
    assert other.states == ("w",)
    assert vorticity_form(equation("psi_x*w_y - psi_y*w_x")) is None
    assert vorticity_form(equation("w*w_x + psi_x")) is None
    assert vorticity_form(equation(constraint="psi_xx = -w")) is None
    assert vorticity_form(Equation(("u_t = u_xx",), ("u",), ("t", "x"))) is None


def test_the_right_hand_side_at_nodes_and_its_gradient():
    known = taylor_green().equation
    flow = vorticity_form(known)
    x, y = PLANE.points.values()
    w = (2 * jnp.cos(x) * jnp.cos(y))[None]
    rhs = jax.jit(flow.semidiscrete(PLANE))
    np.testing.assert_allclose(rhs(0.0, w, {"nu": 0.3}), -0.6 * w, atol=1e-13)
    rough = w + 0.3 * jnp.sin(2 * x - y)

    @jax.jit
    def total(e):
        return jnp.sum(jnp.exp(rhs(0.0, rough + e * jnp.cos(2 * x - 1), {"nu": 0.3})))

    near = [float(total(jnp.asarray(e))) for e in (1e-5, -1e-5)]
    slope = jax.grad(total)(jnp.asarray(0.0))
    np.testing.assert_allclose(slope, (near[0] - near[1]) / 2e-5, rtol=1e-6)
    pair = jnp.stack([w, rough])
    both = jax.vmap(lambda one: rhs(0.0, one, {"nu": 0.3}))(pair)
    np.testing.assert_allclose(both[1], rhs(0.0, rough, {"nu": 0.3}), atol=1e-13)


@pytest.fixture(scope="module")
def by_exponax():
    """exponax keeps wavenumbers up to 7 of 24 nodes, and has the other sign."""
    exponax = pytest.importorskip("exponax")
    x, y = FourierSpace(("x", "y"), (0.0, 0.0), (SIDE, SIDE), (24, 24)).points.values()
    w = jnp.cos(x + y + 1) + jnp.cos(2 * x - y) / 2 - jnp.cos(4 * y)
    with jax.numpy_dtype_promotion("standard"):
        theirs = exponax.stepper.KolmogorovFlowVorticity(
            2, SIDE, 24, 0.02, diffusivity=0.05, drag=-0.1, injection_mode=4,
            injection_scale=-1.0, order=4,
        )  # fmt: skip
        end = jax.jit(exponax.repeat(theirs, 50))(-w[None])
    return np.asarray(w), -np.asarray(end)[0]


@pytest.mark.parametrize(("digits", "atol"), [("float64", 1e-11), ("float32", 1e-4)])
def test_kolmogorov_flow_agrees_with_exponax(digits, atol, by_exponax):
    start, exact = by_exponax
    case = kolmogorov_flow(nu=0.05)
    with precision(digits):
        space = FourierSpace(("x", "y"), (0.0, 0.0), (SIDE, SIDE), (24, 24), 15 / 24)
        w = jnp.asarray(start, digits)
        symbol, nonlinear, _ = vorticity_form(case.equation).split(space)
        values = {name: jnp.asarray(v, w.dtype) for name, v in case.parameters.items()}

        @jax.jit
        def run(w):
            found = etdrk4(
                symbol(values),
                lambda t, y: nonlinear(t, y, values),
                space.to_spectral(w[None]),
                0.0,
                0.02,
                50,
                1,
            )
            return space.to_physical(found.ys[-1, 0])

        found = run(w)
        assert found.dtype == w.dtype
    np.testing.assert_allclose(found, exact, atol=atol)
    assert np.abs(exact - start).max() > 0.5
