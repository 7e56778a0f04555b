"""Equations that remember: their matrices, what their states are, and their steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import laguerre, legendre

from continua.core.errors import InputError
from continua.nets.hippo import (
    dense_kernel,
    diagonal,
    discretise,
    hippo,
    krylov,
    structured,
)


@pytest.mark.parametrize("kind", ["legs", "legt", "lagt"])
@pytest.mark.parametrize("n", [2, 7, 16])
def test_matrices_have_the_tridiagonal_structure(kind, n):
    a, b = hippo(kind, n, window=0.7)
    parts = structured(kind, n, window=0.7)
    a_parts, b_parts = parts.matrices()
    np.testing.assert_allclose(a_parts, a, rtol=0, atol=1e-12 * float(jnp.abs(a).max()))
    np.testing.assert_allclose(b_parts, b, rtol=1e-14)


def test_legs_is_normal_up_to_rank_one():
    n = 16
    a, _ = hippo("legs", n)
    p = np.sqrt(np.arange(n) + 0.5)
    normal = np.asarray(a) + np.outer(p, p)
    skew = normal + 0.5 * np.eye(n)
    assert np.abs(skew + skew.T).max() < 1e-12
    values, vectors = diagonal(n)
    again = 2 * np.real((vectors * values) @ vectors.conj().T)
    assert np.abs(again - normal).max() < 1e-12
    assert np.abs(vectors.conj().T @ vectors - np.eye(n // 2)).max() < 1e-13
    assert np.all(np.imag(values) > 0)


@pytest.mark.parametrize("t", [0.1, 0.8, 2.5])
def test_states_after_a_pulse_are_the_polynomials(t):
    n = 8
    degree = np.eye(n)
    a, b = hippo("legs", n)
    found = jax.scipy.linalg.expm(t * a) @ b
    s = np.exp(-t)
    exact = [np.sqrt(2 * i + 1) * s * legendre.legval(2 * s - 1, degree[i]) for i in range(n)]
    np.testing.assert_allclose(found, exact, atol=1e-12)
    a, b = hippo("lagt", n, window=2.0)
    found = jax.scipy.linalg.expm(t * a) @ b
    exact = [np.exp(-t / 4) * laguerre.lagval(t / 2, degree[i]) / 2 for i in range(n)]
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_fourier_states_of_a_periodic_input_are_its_coefficients():
    n, window = 9, 0.6
    a, b = (np.asarray(x) for x in hippo("fourier", n, window=window))
    for m in range(4):
        omega = 2 * np.pi * m / window
        x = np.linalg.solve(1j * omega * np.eye(n) - a, b)  # of exp(i omega t) at t = 0
        exact = np.zeros(n, complex)
        if m == 0:
            exact[0] = 1.0
        else:  # cos and sin of the past s ago, against exp(-i omega s)
            exact[2 * m - 1], exact[2 * m] = np.sqrt(0.5), -1j * np.sqrt(0.5)
        np.testing.assert_allclose(x, exact, atol=1e-12)


@pytest.mark.parametrize(("n", "bound"), [(16, 0.0079), (32, 0.0077)])
def test_legt_states_rebuild_the_window(n, bound):
    dt, window = 1e-3, 1.0
    t = dt * np.arange(1, 3001)
    u = np.sin(4 * np.pi * t) + 0.5 * np.cos(6.6 * np.pi * t)
    factor, push = discretise(*hippo("legt", n, window=window), dt)
    x = jnp.zeros(n)
    x = jax.lax.scan(lambda x, v: (factor @ x + push * v, None), x, jnp.asarray(u))[0]
    z = np.linspace(0, 1, 501)
    weights = np.asarray(x) * np.sqrt(2 * np.arange(n) + 1)
    found = legendre.legval(1 - 2 * z, weights)
    past = t[-1] - window * z
    exact = np.sin(4 * np.pi * past) + 0.5 * np.cos(6.6 * np.pi * past)
    error = np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2))
    assert 0.0072 < error < bound  # the half step by which a held input is late
    late = past + dt / 2
    delayed = np.sin(4 * np.pi * late) + 0.5 * np.cos(6.6 * np.pi * late)
    rest = np.sqrt(np.mean((found - delayed) ** 2) / np.mean(exact**2))
    assert rest < 0.3 * error  # 0.22 and 0.03: what is left but for that half step


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("backward", 1), ("bilinear", 2)])
def test_steps_have_their_order(method, order):
    a, b = hippo("legs", 4)
    errors = []
    for dt in (0.02, 0.01):
        exact, held = discretise(a, b, dt, "zoh")
        factor, push = discretise(a, b, dt, method)
        steps = round(1 / dt)
        power = jnp.linalg.matrix_power
        errors.append(float(jnp.abs(power(factor, steps) - power(exact, steps)).max()))
        # All have the same rest: A^-1 B.
        eye = jnp.eye(4)
        rest = jnp.linalg.solve(eye - factor, push)
        np.testing.assert_allclose(rest, jnp.linalg.solve(eye - exact, held), atol=1e-13)
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.1


def test_a_diagonal_is_stepped_as_its_matrix():
    a, b = jnp.array([-0.3, 0.0, -5.0]), jnp.arange(6.0).reshape(3, 2)
    for method in ("zoh", "bilinear", "euler", "backward", 0.3):
        factor, push = discretise(a, b, 0.2, method)
        dense, pushes = discretise(jnp.diag(a), b, 0.2, method)
        np.testing.assert_allclose(jnp.diag(factor), dense, atol=1e-14)
        np.testing.assert_allclose(push, pushes, atol=1e-14)


def test_the_bilinear_rule_is_stable_and_eulers_is_not():
    a, b = hippo("legs", 16)
    radius = lambda m: float(np.abs(np.linalg.eigvals(np.asarray(m))).max())  # noqa: E731
    for dt in (0.01, 1.0, 100.0):
        assert radius(discretise(a, b, dt)[0]) < 1
        assert radius(discretise(a, b, dt, "backward")[0]) < 1
    assert radius(discretise(a, b, 1.0, "euler")[0]) > 1


@pytest.mark.parametrize("length", [1, 2, 37, 256])
def test_doubling_is_powers(length):
    a, b = discretise(*hippo("legs", 16), 0.01)
    table = krylov(a, b, length)
    x, columns = b, []
    for _ in range(length):
        columns.append(x)
        x = a @ x
    assert float(jnp.abs(table - jnp.stack(columns, axis=1)).max()) < 1e-14
    c = jnp.cos(jnp.arange(16.0))
    assert float(jnp.abs(dense_kernel(a, b, c, length) - c @ table).max()) < 1e-14


def test_what_is_unknown_is_named():
    with pytest.raises(InputError, match="unknown kind 'leg'"):
        hippo("leg", 4)
    with pytest.raises(InputError, match="got 0 states and a window of 1"):
        hippo("legs", 0)
    with pytest.raises(InputError, match="'fourier' has no tridiagonal structure"):
        structured("fourier", 4)
    with pytest.raises(InputError, match="got 1 states"):
        structured("legs", 1)
    with pytest.raises(InputError, match="unknown method 'tustin'"):
        discretise(*hippo("legs", 4), 0.1, "tustin")
    with pytest.raises(InputError, match="got a weight of 2"):
        discretise(*hippo("legs", 4), 0.1, 2.0)
    with pytest.raises(InputError, match="got 5 states"):
        diagonal(5)
