"""The log-ODE method: the law of the Levy area, exact flows, orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from continua.core.errors import InputError
from continua.integrate import Dopri5, Tsit5
from continua.integrate.stochastic import (
    SDE,
    EulerMaruyama,
    LogODE,
    StochasticHeun,
    brownian,
    solve_sde,
)
from continua.integrate.stochastic import methods as rules
from continua.integrate.stochastic.brownian import Increment

KEY = jax.random.key(2)


def step(method, sde, y, h, dw):
    flat = sde.flat(lambda y: y, jnp.ones(()), None)
    return method.move(flat, jnp.asarray(0.0), y, (), jnp.asarray(h), dw)[0]


def heisenberg():
    """`X_3` is the Levy area of `X_1` and `X_2`."""

    def diffusion(t, y, args):
        one, zero = jnp.ones_like(y[0]), jnp.zeros_like(y[0])
        rows = ((one, zero), (zero, one), (-0.5 * y[1], 0.5 * y[0]))
        return jnp.stack([jnp.stack(row) for row in rows])

    return SDE(lambda t, y, args: jnp.zeros_like(y), diffusion, "general", "stratonovich")


def test_a_step_is_exact_on_the_heisenberg_group():
    w, a = np.array([0.4, -1.1]), 0.37
    levy = jnp.array([[0.0, a], [-a, 0.0]])
    y = jnp.array([0.3, 0.7, -0.2])
    found = step(LogODE(), heisenberg(), y, 0.1, Increment(jnp.asarray(w), None, levy))
    exact = [0.3 + w[0], 0.7 + w[1], -0.2 + (0.3 * w[1] - 0.7 * w[0]) / 2 + a]
    np.testing.assert_allclose(found, exact, atol=1e-15)


def test_a_step_of_a_linear_equation_is_an_exponential():
    rng = np.random.default_rng(0)
    f, g1, g2 = rng.standard_normal((3, 3, 3))

    def diffusion(t, y, args):
        return jnp.stack([g1 @ y, g2 @ y], axis=1)

    sde = SDE(lambda t, y, args: f @ y, diffusion, "general", "stratonovich")
    h, w, a = 0.02, np.array([0.1, -0.14]), 0.013
    y = np.array([1.0, 0.5, -0.3])
    exact = expm(h * f + w[0] * g1 + w[1] * g2 + a * (g2 @ g1 - g1 @ g2)) @ y
    levy = jnp.array([[0.0, a], [-a, 0.0]])
    dw = Increment(jnp.asarray(w), None, levy)
    found = step(LogODE(Dopri5()), sde, jnp.asarray(y), h, dw)
    np.testing.assert_allclose(found, exact, atol=1e-5)
    near = step(LogODE(), sde, jnp.asarray(y), h, dw)
    assert 0 < np.max(np.abs(near - exact)) < 1e-3


def test_brackets_are_those_of_the_definition():
    def diffusion(t, y):
        return jnp.stack([jnp.stack([y[0] * y[1], jnp.sin(y[0]), y[1]]),
                          jnp.stack([y[1], y[0] ** 2, t + y[0]])])  # fmt: skip

    sde, y, t = SDE(len, diffusion, "general"), jnp.array([0.7, -0.4]), 0.3
    a = np.array([[0.0, 0.3, -0.2], [-0.3, 0.0, 0.9], [0.2, -0.9, 0.0]])
    g, dg = np.asarray(diffusion(t, y)), np.asarray(jax.jacfwd(lambda y: diffusion(t, y))(y))
    exact = np.zeros(2)
    for i in range(3):
        for j in range(i + 1, 3):
            exact += a[i, j] * (dg[:, j] @ g[:, i] - dg[:, i] @ g[:, j])
    np.testing.assert_allclose(rules.brackets(sde, t, y, jnp.asarray(a)), exact, atol=1e-15)


def test_law_of_the_levy_area():
    h, paths = jnp.asarray(0.5), 40_000
    seed = brownian.seeds(KEY, jnp.arange(paths), 3)

    @jax.jit
    def draw():
        dw = brownian.of_cell(seed, 3, h, area=True)
        return brownian.with_levy_area(seed, 3, 1, h, dw)

    w, area, levy = (np.asarray(x) for x in draw())
    np.testing.assert_array_equal(levy, -np.swapaxes(levy, 0, 1))
    a, b = levy[0, 1], levy[0, 2]
    # Moments of Levy's law, 1/cosh(u h/2), whose fourth is 5 h^4/16.
    assert abs(np.mean(a)) < 4.5 * 0.25 / np.sqrt(paths)
    assert abs(np.var(a) - 0.25 * 0.25) < 4.5 * 0.125 / np.sqrt(paths) * 0.5 * 2
    assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(paths) * 1.5
    # Given W and H the mean is H W - W H, the covariances those of the exact area.
    rest = levy - (area[:, None] * w[None] - w[:, None] * area[None])
    h = float(h)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        given = h**2 / 20 + h / 5 * (area[i] ** 2 + area[j] ** 2)
        share = rest[i, j] ** 2 / given - 1
        assert abs(np.mean(share)) < 4.5 * np.sqrt(2 / paths)
        for x in (w[0], area[i], area[i] * w[j]):
            product = rest[i, j] * x
            assert abs(np.mean(product)) < 4.5 * np.std(product) / np.sqrt(paths)
    product = rest[0, 1] * rest[0, 2] - h / 5 * area[1] * area[2]
    assert abs(np.mean(product)) < 4.5 * np.std(product) / np.sqrt(paths)


def test_conditional_covariance_is_that_of_fine_paths():
    # The Levy area of piecewise linear paths of 256 parts, given its W and H.
    rng = np.random.default_rng(1)
    n, paths = 256, 20_000
    dw = rng.standard_normal((2, paths, n)) / np.sqrt(n)
    before = np.cumsum(dw, axis=-1) - dw
    middle = before + dw / 2
    w = dw.sum(axis=-1)
    area = middle.mean(axis=-1) - w / 2
    levy = 0.5 * np.sum(middle[0] * dw[1] - middle[1] * dw[0], axis=-1)
    rest = levy - (area[0] * w[1] - w[0] * area[1])
    given = 1 / 20 + (area[0] ** 2 + area[1] ** 2) / 5
    share = rest**2 / given - 1
    assert abs(np.mean(share)) < 4.5 * np.std(share) / np.sqrt(paths) + 4 / n
    trend = (rest**2 - given) * (area[0] ** 2 + area[1] ** 2)
    assert abs(np.mean(trend)) < 4.5 * np.std(trend) / np.sqrt(paths) + 1e-3


def test_strong_order_with_commutative_noise():
    sde = SDE(lambda t, y, _: -0.5 * y, lambda t, y, _: 0.8 * y, "diagonal", "stratonovich")
    paths = 400

    def draw(halvings):
        def run():
            found = solve_sde(
                sde, LogODE(), t0=0.0, t1=1.0, y0=jnp.ones((paths, 1)), dt0=1 / 4, key=KEY,
                halvings=halvings, ensemble=True,
            )  # fmt: skip
            return found.ys[:, -1, 0]

        return np.asarray(jax.jit(run)())

    # Linear fields commute with one another: the flow is the solution, up to RK4's error.
    seed = brownian.seeds(KEY, jnp.arange(paths), 1)
    cells = jax.vmap(lambda i: brownian.of_cell(seed, i, jnp.asarray(0.25)).w)(jnp.arange(4))
    exact = np.exp(-0.5 + 0.8 * np.asarray(cells).sum(axis=0)[0])
    errors = [np.sqrt(np.mean((draw(r) - exact) ** 2)) for r in (0, 3)]
    assert errors[0] < 2e-2
    assert np.log2(errors[0] / errors[1]) / 3 > 1.4


def test_laws_where_noise_does_not_commute():
    # The law of the area over unit time in few steps: variance 1/4 exactly, kurtosis 5.
    paths = 20_000

    def ends(method):
        def draw():
            found = solve_sde(
                heisenberg(), method, t0=0.0, t1=1.0, y0=jnp.zeros((paths, 3)), dt0=0.5,
                key=KEY, ensemble=True,
            )  # fmt: skip
            return found.ys[:, -1]

        return np.asarray(jax.jit(draw)())

    x = ends(LogODE())[:, 2]
    bar = 4.5 * np.sqrt(4 / 16 / paths)
    assert abs(np.var(x) - 0.25) < bar
    exact = 1 / np.cosh(np.arange(1, 5) / 2)
    empirical = np.mean(np.cos(np.arange(1, 5)[:, None] * x), axis=1)
    np.testing.assert_allclose(empirical, exact, atol=4.5 * 0.7 / np.sqrt(paths))
    # Half of the variance is beyond Heun's step.
    assert np.var(ends(StochasticHeun())[:, 2]) < 0.25 - 5 * bar


def test_gradient_and_paths():
    def loss(a):
        sde = SDE(
            lambda t, y, a: -a * y,
            lambda t, y, a: jnp.stack([jnp.sin(a * y), jnp.roll(y, 1) * a], axis=1),
            "general", "stratonovich",
        )  # fmt: skip
        found = solve_sde(
            sde, LogODE(Tsit5()), t0=0.0, t1=1.0, y0=jnp.ones((3, 2)), args=a, dt0=0.25,
            key=KEY, ensemble=True,
        )  # fmt: skip
        return jnp.sum(found.ys**2)

    f, eps = jax.jit(loss), 1e-5
    exact = float(f(0.7 + eps) - f(0.7 - eps)) / (2 * eps)
    assert float(jax.jit(jax.grad(loss))(0.7)) == pytest.approx(exact, rel=1e-7)


def test_mistakes():
    with pytest.raises(InputError, match="LogODE.method: got EulerMaruyama, expected an exp"):
        LogODE(EulerMaruyama())
