"""Exponential Runge-Kutta methods: phi functions, orders, stiff orders, forms of L."""

import functools
import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.linalg
from scipy.integrate import solve_ivp

from continua.core.errors import InputError
from continua.integrate import solve
from continua.integrate.exponential import etdrk4
from continua.integrate.exponential_rk import (
    ETD1,
    ETD2RK,
    ETD3RK,
    ETD4RK,
    HochbruckOstermann4,
    Lawson4,
    phi_square,
)
from continua.integrate.fields import Semilinear
from tests.integrate.fixed_steps import march, measured_order

name = lambda m: m.name  # noqa: E731
Y0 = jnp.asarray([1.0, -0.5])


def laplacian(cells):
    """Second differences between walls at 0 and 1."""
    return (cells + 1) ** 2 * (np.eye(cells, k=1) + np.eye(cells, k=-1) - 2 * np.eye(cells))


EXPONENTIAL = [ETD1(), ETD2RK(), ETD3RK(), ETD4RK(), HochbruckOstermann4(), Lawson4()]


def phi(k, z):
    """The phi function by a sum without cancellation, for numbers."""
    return complex(mpmath.hyp1f1(1, k + 1, z) / mpmath.factorial(k)) if k else np.exp(z)


def test_phi_functions_of_matrices():
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((5, 5)) + 3 * np.eye(5)
    values = np.array([-1e5, -30.0, -0.2, 1e-9, 2.0])
    matrix = vectors @ np.diag(values) @ np.linalg.inv(vectors)
    half, whole = phi_square(jnp.asarray(matrix), 64)
    for scale, found in ((0.5, half), (1.0, whole)):
        for k in range(4):
            numbers = np.array([phi(k, scale * z).real for z in values])
            exact = vectors @ np.diag(numbers) @ np.linalg.inv(vectors)
            np.testing.assert_allclose(found[k], exact, atol=1e-11)
    jordan = jnp.asarray([[0.0, 1.0], [0.0, 0.0]])
    for k, found in enumerate(phi_square(jordan, 64)[1]):
        exact = np.eye(2) / math.factorial(k) + np.asarray(jordan) / math.factorial(k + 1)
        np.testing.assert_allclose(found, exact, atol=1e-15)
    assert np.isnan(phi_square(jordan * 1e30, 64)[1][0]).all()


@pytest.mark.parametrize("method", EXPONENTIAL, ids=name)
def test_coefficients_of_exponential_methods(method):
    def value(terms, z):
        return sum(w * phi(k, c * z) for w, k, c in terms)

    # Without L they are a Runge-Kutta method, with stages c_i.
    for c, row in zip(method.c, method.a, strict=True):
        assert sum(value(terms, 0.0) for terms in row) == pytest.approx(c, abs=1e-15)
    c, b = np.array(method.c), np.array([value(terms, 0.0) for terms in method.b])
    for power in range(method.order):
        assert b @ c**power == pytest.approx(1 / (power + 1), abs=1e-14)
    if method == Lawson4():
        return
    # A constant N is solved exactly, in every stage.
    for z in (-3.0, -1e4):
        for node, row in zip((*method.c, 1.0), (*method.a, method.b), strict=True):
            total = sum(value(terms, z) for terms in row)
            assert total == pytest.approx(node * phi(1, node * z), abs=1e-14)


MATRIX = np.diag([-1.0, -4.0, -9.0]) + np.array([[0, 2, 0], [-2, 0, 1], [0.5, 0, 0]])
DIAGONAL = jnp.asarray([-1.0, -20.0, -0.3])


def nonlinear(t, y, a):
    return a * jnp.roll(y, 1) * (1 - y) + jnp.cos(2 * t)


LINEAR = {
    "diagonal": DIAGONAL,
    "matrix": jnp.asarray(MATRIX),
    "function": lambda y: jnp.asarray(MATRIX) @ y,
}
Z0 = jnp.asarray([1.0, 0.5, -0.5])


@functools.cache
def exact_semilinear(kind):
    matrix = np.diag(DIAGONAL) if kind == "diagonal" else MATRIX

    def field(t, y):
        return matrix @ y + 0.8 * np.roll(y, 1) * (1 - y) + np.cos(2 * t)

    return solve_ivp(field, (0.0, 1.5), Z0, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]


@pytest.mark.parametrize(
    ("method", "kind"),
    [*((m, "matrix") for m in EXPONENTIAL), (ETD4RK(), "diagonal"), (ETD2RK(), "function")],
    ids=str,
)
def test_exponential_orders(method, kind):
    def error(n):
        field = Semilinear(LINEAR[kind], nonlinear)
        found = march(method, field, 0.0, 1.5, Z0, 0.8, jnp.full(1, n, jnp.int32))
        assert int(found.evaluations) == 1 + n * method.evaluations
        return np.abs(found.ys[-1] - exact_semilinear(kind)).max()

    assert measured_order(error, (80, 160, 320)) == pytest.approx(method.order, abs=0.1)


@pytest.mark.parametrize("method", EXPONENTIAL, ids=name)
def test_linear_parts_are_taken_exactly(method):
    """One step, however stiff, without a nonlinear part and with a constant one."""
    matrix = np.array([[-1e4, 3.0], [1.0, -0.5]])
    exact = scipy.linalg.expm(2.0 * matrix) @ Y0
    shift = np.array([1.0, -2.0])
    for constant in (0.0, 1.0):
        if constant and method == Lawson4():
            continue
        field = Semilinear(jnp.asarray(matrix), lambda t, y, a: a * jnp.asarray(shift))
        found = march(method, field, 0.0, 2.0, Y0, constant, jnp.full(1, 1, jnp.int32))
        at_rest = -np.linalg.solve(matrix, constant * shift)
        exact = at_rest + scipy.linalg.expm(2.0 * matrix) @ (np.asarray(Y0) - at_rest)
        np.testing.assert_allclose(found.ys[-1], exact, atol=1e-12)


def heat(cells):
    """A heat equation with a source that does not vanish at the walls: the exact
    solution of the grid is x (1 - x) e^t."""
    x = jnp.arange(1, cells + 1) / (cells + 1)
    laplace = laplacian(cells)
    bump = x * (1 - x)

    def source(t, u, a):
        wanted = bump * jnp.exp(t)
        return wanted + 2 * jnp.exp(t) + 1 / (1 + u**2) - 1 / (1 + wanted**2)

    return Semilinear(jnp.asarray(laplace), source), bump


@pytest.mark.parametrize(
    ("method", "least"), [(ETD1(), 1.0), (ETD2RK(), 2.0), (HochbruckOstermann4(), 4.0)], ids=str
)
def test_stiff_orders(method, least):
    errors = {}
    for cells in (15, 60):
        field, bump = heat(cells)

        def error(n, field=field, bump=bump):
            found = march(method, field, 0.0, 1.0, bump, None, jnp.full(1, n, jnp.int32))
            return np.abs(found.ys[-1] - np.e * bump).max()

        counts = (4, 8, 16)
        errors[cells] = error(8)
        assert measured_order(error, counts) == pytest.approx(least, abs=0.2)
    # The error does not grow with the stiffness.
    assert errors[60] < 1.5 * errors[15]


def test_forms_of_a_linear_part_agree():
    cells = 32
    laplace = laplacian(cells)
    values, vectors = np.linalg.eigh(0.01 * laplace)
    to, back = jnp.asarray(vectors.T), jnp.asarray(vectors)
    matrix = jnp.asarray(0.01 * laplace)
    u0 = jnp.asarray(np.sin(np.pi * np.arange(1, cells + 1) / (cells + 1)))

    def source(t, u, a):
        return u - u**3 + jnp.sin(t)

    forms = {
        "matrix": Semilinear(matrix, source),
        "function": Semilinear(lambda u: matrix @ u, source),
        "diagonal": Semilinear(jnp.asarray(values), lambda t, w, a: to @ source(t, back @ w, a)),
    }
    found, ten = {}, jnp.full(1, 10, jnp.int32)
    for kind, field in forms.items():
        start = to @ u0 if kind == "diagonal" else u0
        end = march(ETD2RK(), field, 0.0, 1.0, start, None, ten).ys[-1]
        found[kind] = back @ end if kind == "diagonal" else end
    for kind in ("function", "diagonal"):
        np.testing.assert_allclose(found[kind], found["matrix"], atol=1e-10)


def test_agreement_with_etdrk4():
    wave = np.fft.fftfreq(32, 1 / 32)
    linear, derivative = jnp.asarray(-0.1 * wave**2 + 1j * wave**3), jnp.asarray(-0.5j * wave)

    def burgers(t, y, a=None):
        return derivative * jnp.fft.fft(jnp.fft.ifft(y).real ** 2)

    y0 = jnp.fft.fft(np.cos(2 * np.pi * np.arange(32) / 32))
    old = etdrk4(linear[None], lambda t, y: burgers(t, y[0])[None], y0[None], 0.0, 0.01, 20, 1)
    new = solve(Semilinear(linear, burgers), ETD4RK(), t0=0.0, t1=0.2, y0=y0, dt0=0.01)
    np.testing.assert_allclose(new.ys[-1], old.ys[-1, 0], atol=1e-12 * 32)
    np.testing.assert_allclose(new.slopes[-1], old.slopes[-1, 0], atol=1e-9)


@pytest.mark.parametrize("kind", LINEAR)
def test_gradients_of_exponential_steps(kind):
    def end(scale, a):
        linear = LINEAR[kind]
        linear = (lambda y: scale * LINEAR[kind](y)) if callable(linear) else scale * linear
        method = ETD1() if callable(linear) else ETD2RK()
        found = solve(
            Semilinear(linear, nonlinear), method, t0=0.0, t1=1.0, y0=Z0, args=a, dt0=0.25
        )
        return jnp.sum(found.ys[-1] ** 2)

    value, step = jax.jit(end), 1e-5
    exact = [
        (value(1.0 + step, 0.8) - value(1.0 - step, 0.8)) / (2 * step),
        (value(1.0, 0.8 + step) - value(1.0, 0.8 - step)) / (2 * step),
    ]
    np.testing.assert_allclose(jax.jit(jax.grad(end, (0, 1)))(1.0, 0.8), exact, rtol=1e-7)
    if kind != "function":
        np.testing.assert_allclose(jax.jit(jax.jacfwd(end, (0, 1)))(1.0, 0.8), exact, rtol=1e-7)


def test_a_space_that_is_too_small_ends_the_solve():
    laplace = laplacian(24)
    matrix = jnp.asarray(laplace)
    field = Semilinear(lambda y: matrix @ y, lambda t, y, a: 0 * y)
    u0 = jnp.ones(24)
    for size, code in ((3, 2), (24, 0)):
        found = solve(field, ETD1(krylov=size), t0=0.0, t1=0.5, y0=u0, dt0=0.5)
        assert int(found.code) == code
    np.testing.assert_allclose(found.ys[-1], scipy.linalg.expm(0.5 * laplace) @ u0, atol=1e-12)


def test_semilinear_states_and_linear_parts_fit():
    options = {"t0": 0.0, "t1": 1.0, "args": 0.0, "dt0": 0.1}
    with pytest.raises(InputError, match=r"linear part \(3,\) for a state of 2"):
        solve(Semilinear(DIAGONAL, nonlinear), ETD1(), y0=Y0, **options)
    with pytest.raises(InputError, match="complex linear part"):
        solve(Semilinear(DIAGONAL.astype(complex), nonlinear), ETD1(), y0=Z0, **options)


def test_a_real_linear_part_of_a_complex_state():
    """y' = -y + i y by the diagonal, and by the matrix."""
    for linear in (-jnp.ones(2), -jnp.eye(2)):
        found = solve(
            Semilinear(linear, lambda t, y, args: 1j * y), ETD4RK(), t0=0.0, t1=1.0,
            y0=jnp.ones(2, complex), dt0=0.01,
        )  # fmt: skip
        np.testing.assert_allclose(found.ys[-1], np.exp(-1 + 1j), rtol=1e-9)
