"""Facts of the steps: what they are, that they add up, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.integrate import Direct, Replay, Rodas5P, Tsit5, runge_kutta, solve
from continua.integrate.tableaus import TSIT5

TIGHT = {"rtol": 1e-7, "atol": 1e-9}


def pendulum(t, y, a):
    return jnp.stack([y[1], -a * jnp.sin(y[0])])


def run(a, y0=None, method=None, **options):
    y0 = jnp.asarray([1.0, 0.0]) if y0 is None else y0
    options = {"t0": 0.0, "t1": 3.0, "history": 128, **TIGHT, **options}
    return solve(pendulum, method or Tsit5(), y0=y0, args=a, **options)


@pytest.mark.parametrize("method", [Tsit5(), Rodas5P()], ids=["Tsit5", "Rodas5P"])
def test_steps_add_up(method):
    found = run(jnp.asarray(4.0), method=method)
    n, history = int(found.steps), found.history
    assert n < 128
    np.testing.assert_allclose(jnp.sum(history.dt), 3.0, rtol=1e-14)
    np.testing.assert_allclose(history.ts[1:n], jnp.cumsum(history.dt)[: n - 1], rtol=1e-13)
    assert (np.asarray(history.error[:n]) > 0).all()
    assert (np.asarray(history.error) <= 1).all()
    for facts in (history.dt, history.error, history.stiffness):
        np.testing.assert_array_equal(facts[n:], 0.0)


def test_the_stiffness_of_a_linear_equation():
    """It is |lambda| for one number, and between the singular values for more."""
    found = solve(
        lambda t, y, a: -37.0 * y, Tsit5(), t0=0.0, t1=0.5, y0=jnp.ones(1), history=16, rtol=1e-4
    )
    n = int(found.steps)
    np.testing.assert_allclose(found.history.stiffness[: min(n, 16)], 37.0, rtol=1e-7)
    matrix = jnp.asarray([[-1.0, 5.0], [0.0, -20.0]])

    def field(t, y):
        return matrix @ y

    y, dt = jnp.asarray([1.0, 1.0]), jnp.asarray(0.01)
    new, after, *_ = runge_kutta.step(TSIT5, field, 0.0, y, field(0.0, y), dt)
    found = runge_kutta.stiffness(TSIT5, field, 0.0, y, field(0.0, y), dt, new, after)
    assert float(found) == pytest.approx(20.005, abs=5e-3)


def measure(a, gradient, ensemble=False):
    y0 = jnp.asarray([[1.0, 0.0], [2.0, 0.3]]) if ensemble else None
    history = run(a, y0, gradient=gradient, ensemble=ensemble).history
    return jnp.sum(history.error * history.dt) + 0.1 * jnp.sum(history.stiffness)


@pytest.mark.parametrize("ensemble", [False, True])
def test_derivatives_of_errors_and_stiffness(ensemble):
    a = jnp.asarray(4.0)
    reverse = jax.jit(jax.grad(lambda a: measure(a, Replay(), ensemble)))(a)
    forward = jax.jit(jax.jacfwd(lambda a: measure(a, Direct(), ensemble)))(a)
    # Errors are small differences: with and without `jit` these numbers part by 2e-7.
    np.testing.assert_allclose(reverse, forward, rtol=1e-9)


def test_a_step_of_a_constant_slope_has_no_error_and_a_finite_gradient():
    def total(a):
        found = solve(
            lambda t, y, a: a + 0 * y, Tsit5(), t0=0.0, t1=1.0, y0=jnp.zeros(2), args=a, history=16
        )
        return jnp.sum(found.history.error) + jnp.sum(found.history.stiffness)

    value, slope = jax.value_and_grad(total)(jnp.asarray([1.0, -2.0]))
    assert abs(float(value)) < 1e-6
    assert np.isfinite(np.asarray(slope)).all()


def test_derivatives_with_the_steps_held_are_those_of_the_steps():
    """Against finite differences of the steps taken by hand."""
    a, options = jnp.asarray(4.0), {"t1": 1.0}
    found = run(a, **options)
    n = int(found.steps)

    def by_hand(a):
        y, total = jnp.asarray([1.0, 0.0]), 0.0
        slope = pendulum(0.0, y, a)
        for i in range(n):
            dt = found.history.dt[i]
            new, after, error, _ = runge_kutta.step(
                TSIT5, lambda t, y: pendulum(t, y, a), 0.0, y, slope, dt
            )
            size, _ = runge_kutta.error_norm(error, y, new, TIGHT["rtol"], TIGHT["atol"])
            total, y, slope = total + size * dt, new, after
        return total

    def by_history(a):
        history = run(a, **options).history
        return jnp.sum(history.error * history.dt)

    np.testing.assert_allclose(by_history(a), by_hand(a), rtol=1e-9)
    slope = jax.grad(by_history)(a)
    np.testing.assert_allclose(slope, jax.grad(by_hand)(a), rtol=1e-9)
    h = 1e-4  # rounding errors are some 1e-7 of an estimate of 1e-9
    central = (by_hand(a + h) - by_hand(a - h)) / (2 * h)
    np.testing.assert_allclose(slope, central, rtol=1e-5)
