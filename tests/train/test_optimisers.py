"""Optimisers: exact limits, and minima of functions with a known one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from continua.train import BFGS, LBFGS, SOAP, Adam, Cosine, Exponential, Lion, SSBroyden
from continua.train.line_search import strong_wolfe
from continua.train.quasi_newton import Scaling, broyden_update, self_scaling
from continua.train.soap import scale_by_soap


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def minimise(optimiser, function, start, steps):
    def body(i, carry):
        params, state = carry
        objective = lambda p: (function(p), {})  # noqa: E731
        params, state, _ = optimiser.step(objective, params, state, step=i, total=steps)
        return params, state

    run = jax.jit(lambda p: jax.lax.fori_loop(0, steps, body, (p, optimiser.init(p))))
    return run(start)[0]


@pytest.mark.parametrize("optimiser", [SSBroyden(), BFGS(), LBFGS()])
def test_quasi_newton_methods_find_the_minimum_of_rosenbrock(optimiser):
    start = jnp.array([-1.2, 1.0, -0.5, 0.8])
    end = minimise(optimiser, rosenbrock, start, 120)
    np.testing.assert_allclose(end, jnp.ones(4), atol=1e-8)


def test_broyden_without_theta_and_tau_is_bfgs():
    key, p = jax.random.key(0), 6
    a, s, y = (
        jax.random.normal(k, n)
        for k, n in zip(jax.random.split(key, 3), ((p, p), (p,), (p,)), strict=True)
    )
    h = a @ a.T + jnp.eye(p)
    y = jnp.where(jnp.dot(s, y) > 0, y, -y)
    rho, eye = 1 / jnp.dot(s, y), jnp.eye(p)
    left = eye - rho * jnp.outer(s, y)
    bfgs = left @ h @ left.T + rho * jnp.outer(s, s)
    bare = Scaling(jnp.zeros(()), jnp.ones(()))
    new = broyden_update(h, s, y, h @ y, bare, jnp.array(0.3))
    np.testing.assert_allclose(new, bfgs, atol=1e-12 * float(jnp.max(jnp.abs(bfgs))))


def test_self_scaled_update_keeps_secant_equation_and_definiteness():
    key, p = jax.random.key(1), 6
    k1, k2, k3 = jax.random.split(key, 3)
    a = jax.random.normal(k1, (p, p))
    h = a @ a.T + jnp.eye(p)
    g, length = jax.random.normal(k2, (p,)), jnp.array(0.7)
    s = -length * (h @ g)
    y = s * jnp.exp(0.3 * jax.random.normal(k3, (p,)))
    scaling, a_ = self_scaling(s, y, h @ y, g, length)
    new = broyden_update(h, s, y, h @ y, scaling, a_)
    np.testing.assert_allclose(new @ y, s, rtol=1e-10, atol=1e-10)
    assert jnp.all(jnp.linalg.eigvalsh(new) > 0)


def test_line_search_meets_the_strong_wolfe_conditions():
    def function(x):
        return jax.value_and_grad(lambda z: jnp.sum(jnp.cosh(z - 3) + jnp.sin(3 * z)))(x)

    x = jnp.array([0.1, -2.0])
    value, gradient = function(x)
    found = strong_wolfe(function, x, -gradient, value, gradient, 1e-4, curvature=0.1)
    new_value, new_gradient = function(x - found.length * gradient)
    slope = -jnp.dot(gradient, gradient)
    assert new_value <= value + 1e-4 * found.length * slope
    assert jnp.abs(jnp.dot(new_gradient, gradient)) <= 0.1 * jnp.abs(slope)
    np.testing.assert_array_equal(found.value, new_value)


def test_line_search_walks_back_from_infinite_values():
    def function(x):
        return jax.value_and_grad(lambda z: -jnp.log(1 - z[0]) - 2 * z[0])(x)

    x = jnp.zeros(1)
    value, gradient = function(x)
    found = strong_wolfe(function, x, jnp.ones(1), value, gradient, 64.0)
    assert 0 < found.length < 1
    assert jnp.isfinite(found.value)


def test_soap_with_identity_bases_is_adam():
    def gradient(i, p):
        return jax.tree.map(lambda x: jnp.sin(x * (1.0 + i)) + 0.1, p)

    params = {"w": jnp.linspace(-1.0, 1.0, 6).reshape(2, 3), "b": jnp.ones(3)}
    soap, adam = scale_by_soap(max_size=0), optax.scale_by_adam(0.9, 0.999, 1e-8)
    s, a = soap.init(params), adam.init(params)
    step, s = soap.update(gradient(0, params), s)
    assert all(jnp.all(x == 0) for x in jax.tree.leaves(step))
    for i in range(1, 6):
        ours, s = soap.update(gradient(i, params), s)
        with jax.numpy_dtype_promotion("standard"):
            theirs, a = adam.update(gradient(i, params), a)
        for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-12)


def test_soap_is_free_of_the_choice_of_axes():
    # In the eigenbasis of its own factors SOAP sees a turned problem as the same one.
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(2), (4, 4)))[0]
    target = jax.random.normal(jax.random.key(3), (4, 4))
    scale = jnp.diag(jnp.array([1.0, 1.5, 2.0, 2.5]))

    def plain(w):
        return jnp.sum((scale @ (w - target)) ** 2)

    def turned(w):
        return plain(turn @ w)

    start = jnp.zeros((4, 4))
    # Two steps: the first only builds the bases.
    one = minimise(SOAP(0.1, epsilon=1e-4), plain, start, 2)
    two = turn @ minimise(SOAP(0.1, epsilon=1e-4), turned, start, 2)
    np.testing.assert_allclose(one, two, atol=1e-8)


@pytest.mark.parametrize(
    "optimiser",
    [
        Adam(0.1, Cosine()),
        Adam(0.1, Exponential(every=100)),
        Lion(0.05, Cosine(final=0.0)),
        SOAP(0.1, Cosine()),
    ],
)
def test_first_order_methods_find_the_minimum_of_a_quadratic(optimiser):
    def function(p):
        return jnp.sum((p["w"] - 0.5) ** 2) + jnp.sum(p["b"] ** 2)

    start = {"w": jnp.zeros((2, 3)), "b": jnp.ones(2)}
    end = minimise(optimiser, function, start, 400)
    assert function(end) < 1e-3


def test_clipping_bounds_the_gradient():
    function = lambda p: (1e3 * jnp.sum(p), {"sum": jnp.sum(p)})  # noqa: E731
    optimiser = Adam(1.0, clip=1.0)
    params = jnp.ones(4)
    _, state, row = optimiser.step(function, params, optimiser.init(params), step=0, total=1)
    np.testing.assert_allclose(row.gradient_norm, 2e3)
    np.testing.assert_allclose(row.parts["sum"], 4.0)
    np.testing.assert_allclose(jnp.linalg.norm(state.mu), 0.1, rtol=1e-9)
