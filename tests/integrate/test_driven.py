"""Equations along paths that are given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.integrate.stochastic import (
    SDE,
    LogODE,
    ShARK,
    StochasticHeun,
    StochasticReversibleHeun,
    brownian_increments,
    solve_driven,
    solve_sde,
)

KEY = jax.random.key(2)
HEUN = StochasticReversibleHeun()
TS = np.array([0.0, 0.2, 0.3, 0.7, 1.0])


def general(t, y, a):
    return jnp.stack([a * jnp.cos(y + t), jnp.roll(y, 1) * 0.3, jnp.ones_like(y)], axis=1)


def drift(t, y, a):
    return jnp.sin(a * y) - t


@pytest.mark.parametrize("interpretation", ["ito", "stratonovich"])
def test_with_the_same_noise_it_is_solve_sde(interpretation):
    sde, ts = SDE(drift, general, "general", interpretation), jnp.asarray(TS)
    y0 = jax.random.normal(KEY, (4, 2))
    options = {"t0": 0.0, "t1": 1.0, "saveat": TS, "dt0": 1.0, "key": KEY, "args": 0.7}
    right = solve_sde(sde, HEUN, y0=y0, path=3, ensemble=True, **options).ys
    dx = brownian_increments(ts, 3, 3 + jnp.arange(4), key=KEY)
    found = solve_driven(sde, HEUN, ts=ts, increments=dx, y0=y0.T, args=0.7)
    np.testing.assert_allclose(jnp.moveaxis(found, -1, 0), right, rtol=1e-12, atol=1e-13)
    lone = brownian_increments(ts, 3, 5, key=KEY)
    alone = solve_driven(sde, HEUN, ts=ts, increments=lone, y0=y0[2], args=0.7)
    np.testing.assert_allclose(alone, right[2], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", [HEUN, StochasticHeun()])
def test_along_a_smooth_path_the_order_is_two(method):
    """`dy = y dX` is solved by `y_0 exp(X(t) - X(0))`."""
    sde = SDE(
        lambda t, y, a: jnp.zeros_like(y), lambda t, y, a: y[:, None], "general", "stratonovich"
    )
    errors = []
    for count in (20, 40, 80):
        ts = jnp.linspace(0, 1, count + 1)
        x = jnp.sin(3 * ts)[:, None]
        y = solve_driven(sde, method, ts=ts, increments=jnp.diff(x, axis=0), y0=jnp.ones(1))
        errors.append(float(jnp.abs(y - jnp.exp(x)).max()))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(rates - 2) < 0.1)


def test_gradients_in_the_path_are_those_of_differences():
    sde, ts = SDE(drift, general, "general", "stratonovich"), jnp.asarray(TS)
    dx = jax.random.normal(KEY, (4, 3))

    def end(dx, a):
        found = solve_driven(sde, HEUN, ts=ts, increments=dx, y0=jnp.array([0.3, -0.2]), args=a)
        return jnp.sum(jnp.cos(found))

    along, step = jax.random.normal(jax.random.key(1), dx.shape), 1e-6
    in_dx, in_a = jax.grad(end, argnums=(0, 1))(dx, 0.7)
    about = (end(dx + step * along, 0.7) - end(dx - step * along, 0.7)) / (2 * step)
    assert float(jnp.sum(in_dx * along)) == pytest.approx(float(about), rel=1e-7)
    about = (end(dx, 0.7 + step) - end(dx, 0.7 - step)) / (2 * step)
    assert float(in_a) == pytest.approx(float(about), rel=1e-7)


def test_what_cannot_be_solved_is_said():
    sde = SDE(drift, general, "general", "stratonovich")
    given = {"ts": jnp.asarray(TS), "increments": jnp.zeros((4, 3)), "y0": jnp.zeros(2)}
    for method in (ShARK(), LogODE()):
        with pytest.raises(InputError, match=f"{type(method).__name__} needs areas"):
            solve_driven(sde, method, **given)
    with pytest.raises(InputError, match="got 5 increments between 5 rows; give one fewer"):
        solve_driven(sde, HEUN, **{**given, "increments": jnp.zeros((5, 3))})
