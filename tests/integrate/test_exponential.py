"""ETDRK4: order, exact linear parts, coefficient functions, failures."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from continua.core.precision import precision
from continua.equations import Equation
from continua.integrate import etdrk4
from continua.integrate.exponential import phi_functions, phi_matrices
from continua.spaces import FourierSpace
from tests.integrate.traced import Traced

CASES = {
    "burgers": ("u_t + u*u_x = 0.02*u_xx", lambda x: -np.sin(x), 1.0, 100),
    "kdv": ("u_t + 6*u*u_x + u_xxx = 0", lambda x: np.cos(x), 0.3, 200),
    "allen_cahn": (
        "u_t = 0.01*u_xx + u - u^3",
        lambda x: 0.5 * np.cos(x) + 0.3 * np.sin(2 * x),
        4.0,
        40,
    ),
}


def run(text, initial, horizon, steps, unknowns=("u",)):
    equation = Equation((text,), unknowns, ("t", "x"))
    space = FourierSpace(("x",), (0.0,), (2 * np.pi,), (64,))
    symbol, nonlinear, _ = equation.split(space)
    x = space.nodes(0)
    y0 = space.to_spectral(jnp.asarray(np.stack([f(x) for f in initial])))

    @jax.jit
    def go(n):
        return etdrk4(symbol({}), lambda t, y: nonlinear(t, y, {}), y0, 0.0, horizon / n, n, 1)

    return space, [go(n) for n in steps]


@pytest.mark.parametrize("case", CASES)
def test_order_four(case):
    text, initial, horizon, n = CASES[case]
    space, found = run(text, [initial], horizon, (n, 2 * n, 4 * n))
    ends = [np.asarray(space.to_physical(f.ys[-1])) for f in found]
    gaps = [np.max(np.abs(a - b)) for a, b in zip(ends, ends[1:], strict=False)]
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(4.0, abs=0.15)
    assert int(found[0].evaluations) == 4 * n + 1


def test_coupled_states_of_order_four():
    text = "u_tt = u_xx - sin(u) - u_t/10"
    space, found = run(text, [np.cos, lambda x: 0 * x], 4.0, (80, 160, 320))
    ends = [np.asarray(space.to_physical(f.ys[-1])) for f in found]
    gaps = [np.max(np.abs(a - b)) for a, b in zip(ends, ends[1:], strict=False)]
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(4.0, abs=0.15)


def test_linear_equations_take_any_step():
    space, (found,) = run("u_t = u_xx + u_xxx", [np.cos], 3.0, (1,))
    x = space.nodes(0)
    exact = np.exp(-3.0) * np.cos(x - 3.0)
    np.testing.assert_allclose(space.to_physical(found.ys[-1])[0], exact, atol=1e-13)
    slope = np.exp(-3.0) * (-np.cos(x - 3.0) + np.sin(x - 3.0))
    np.testing.assert_allclose(space.to_physical(found.slopes[-1])[0], slope, atol=1e-12)
    # The wave equation couples its two states, and its symbol is defective at k = 0.
    space, (found,) = run("u_tt = u_xx", [lambda x: np.cos(2 * x) + 1, np.ones_like], 3.0, (1,))
    exact = np.cos(6.0) * np.cos(2 * x) + 1 + 3.0
    np.testing.assert_allclose(space.to_physical(found.ys[-1])[0], exact, atol=1e-12)


def test_phi_functions_near_and_far_from_zero():
    z = np.array([0.0, 1e-8, -1e-3j, 0.3 - 0.2j, -2.0, 5j, -40.0, -1e4, -1e6 + 1e3j])
    found = [np.asarray(p) for p in phi_functions(jnp.asarray(z, complex))]
    for i, value in enumerate(z):
        for k in (1, 2, 3):
            exact = complex(mpmath.hyp1f1(1, k + 1, complex(value)) / mpmath.factorial(k))
            assert abs(found[k - 1][i] - exact) <= 1e-13 * abs(exact) + 1e-16


def test_phi_matrices_are_phi_functions_of_the_eigenvalues():
    rng = np.random.default_rng(0)
    z = np.array([[-1.0 + 2j, -30.0], [0.01, -400.0], [3j, -3j]])
    vectors = rng.standard_normal((3, 2, 2)) + 2 * np.eye(2)
    inverse = np.linalg.inv(vectors)
    matrices = np.einsum("bij,bj,bjk->bik", vectors, z, inverse)
    found = phi_matrices(jnp.asarray(matrices))
    scalars = (np.exp(z), *(np.asarray(p) for p in phi_functions(jnp.asarray(z))))
    for matrix, scalar in zip(found, scalars, strict=True):
        exact = np.einsum("bij,bj,bjk->bik", vectors, scalar, inverse)
        np.testing.assert_allclose(matrix, exact, atol=1e-12)


def test_saves_lie_where_they_should_and_steps_compile_once():
    equation = Equation(("u_t = u_xx/10 + sin(t)",), ("u",), ("t", "x"))
    space = FourierSpace(("x",), (0.0,), (2 * np.pi,), (16,))
    symbol, nonlinear, _ = equation.split(space)
    y0 = space.to_spectral(jnp.asarray(np.cos(space.nodes(0)))[None])

    @Traced
    def go(n):
        return etdrk4(symbol({}), lambda t, y: nonlinear(t, y, {}), y0, 1.0, 0.5 / n, n, 4)

    for n in (10, 20):
        found = go(n)
        np.testing.assert_allclose(found.ts, 1.0 + 0.5 * np.arange(5), rtol=1e-12)
        mean = np.asarray(space.to_physical(found.ys))[:, 0].mean(axis=1)
        np.testing.assert_allclose(mean, np.cos(1.0) - np.cos(found.ts), atol=1e-7)
    assert go.traces == 1


def test_a_blow_up_is_a_code():
    _, (found,) = run("u_t = u_xx/100 + u^2", [lambda x: 1 + 0.1 * np.cos(x)], 5.0, (500,))
    assert int(found.code) == 2
    assert int(found.steps) < 500
    assert 0.8 < float(found.t_end) < 2.0
    assert not np.isfinite(np.asarray(found.ys[-1])).any()


def test_single_precision():
    text, initial, *_ = CASES["burgers"]
    with precision("float32"):
        space, (found,) = run(text, [initial], 1.0, (100,))
        assert found.ys.dtype == jnp.complex64
        single = np.asarray(space.to_physical(found.ys[-1]))
    space, (found,) = run(text, [initial], 1.0, (100,))
    np.testing.assert_allclose(single, space.to_physical(found.ys[-1]), atol=2e-5)
