"""The comparison of gradients, and steady states."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

from continua.core.errors import InputError
from continua.integrate import (
    Continuous,
    Direct,
    Replay,
    Tsit5,
    check_gradient,
    solve,
    steady_state,
)


def pendulum(t, y, a):
    return jnp.stack([y[1], -a[0] * jnp.sin(y[0]) - a[1] * y[1]])


def loss(x, gradient, t1=2.0):
    found = solve(
        pendulum, Tsit5(), t0=0.0, t1=t1, y0=x["y0"], args=x["a"], saveat=jnp.linspace(0, t1, 4),
        rtol=1e-10, atol=1e-12, gradient=gradient,
    )  # fmt: skip
    return jnp.sum(jnp.cos(found.ys))


X = {"y0": jnp.asarray([1.0, 0.0]), "a": jnp.asarray([9.0, 0.3])}


def test_all_gradients_agree():
    found = check_gradient(loss, X, key=jax.random.key(0))
    assert found.resolution < 1e-6
    assert (found.errors < 1e-7).all()
    by_name = dict(zip(found.names, found.derivatives, strict=True))
    np.testing.assert_allclose(by_name["Replay"], by_name["Direct"], rtol=1e-10)
    np.testing.assert_allclose(by_name["Continuous"], by_name["Direct"], rtol=1e-7)
    table = str(found)
    assert all(name in table for name in ("Replay", "Continuous", "Direct", "finite differences"))


def test_a_wrong_gradient_is_seen():
    def wrong(x, gradient):
        if isinstance(gradient, Replay):
            x = {**x, "a": x["a"].at[0].set(jax.lax.stop_gradient(x["a"][0]))}
        return loss(x, gradient)

    found = check_gradient(wrong, X, (Replay(), Direct()), key=jax.random.key(1))
    assert found.errors[0] > 1e-2 > 1e-7 > found.errors[1]


@pytest.mark.parametrize("ensemble", [False, True])
def test_the_continuous_adjoint_of_many(ensemble):
    starts = jnp.asarray([[1.0, 0.0], [2.0, 0.5], [0.1, 0.0]])

    def total(a, gradient):
        if ensemble:
            found = solve(
                pendulum, Tsit5(), t0=0.0, t1=1.0, y0=starts, args=a, rtol=1e-10, atol=1e-12,
                gradient=gradient, ensemble=True,
            )  # fmt: skip
            return jnp.sum(found.ys)
        return jnp.sum(
            jax.vmap(
                lambda y: solve(
                    pendulum, Tsit5(), t0=0.0, t1=1.0, y0=y, args=a, rtol=1e-10, atol=1e-12,
                    gradient=gradient,
                ).ys
            )(starts)
        )  # fmt: skip

    adjoint = jax.jit(jax.grad(lambda a: total(a, Continuous())))(X["a"])
    exact = jax.jit(jax.jacfwd(lambda a: total(a, Direct())))(X["a"])
    np.testing.assert_allclose(adjoint, exact, rtol=1e-7)


def test_a_loss_that_is_no_number():
    with pytest.raises(InputError, match="one finite number"):
        check_gradient(lambda x, gradient: x["a"], X, key=jax.random.key(0))


def test_steady_states_and_their_derivatives():
    """y = cos(a y) and its derivative -y sin(a y) / (1 + a sin(a y))."""

    def field(y, a):
        return {"y": jnp.cos(a * y["y"]) - y["y"]}

    def state(a):
        return steady_state(field, {"y": jnp.asarray([0.5])}, a, rtol=1e-12, atol=1e-12)

    a = jnp.asarray(0.8)
    found = state(a)
    assert bool(found.reached)
    y = float(found.y["y"][0])
    assert y == pytest.approx(np.cos(0.8 * y), abs=1e-12)
    exact = -y * np.sin(0.8 * y) / (1 + 0.8 * np.sin(0.8 * y))
    for mode in (jax.grad, jax.jacfwd):
        assert float(mode(lambda a: state(a).y["y"][0])(a)) == pytest.approx(exact, rel=1e-10)
    slow = steady_state(field, {"y": jnp.asarray([0.5])}, a, max_steps=1)
    assert not bool(slow.reached)
    other = steady_state(field, {"y": jnp.asarray([0.5])}, a, method=optx.Dogleg(1e-10, 1e-10))
    assert float(other.y["y"][0]) == pytest.approx(y, abs=1e-8)
    with pytest.raises(InputError, match="another shape"):
        steady_state(lambda y, a: y[:1], jnp.ones(2))


def test_a_deep_equilibrium_is_the_limit_of_the_solve():
    w = 0.4 * jax.random.normal(jax.random.key(0), (5, 5)) / np.sqrt(5)
    x = jax.random.normal(jax.random.key(1), (5,))

    def layer(z, args):
        w, x = args
        return jnp.tanh(w @ z + x) - z

    at_once = steady_state(layer, jnp.zeros(5), (w, x)).y
    late = solve(
        lambda t, z, args: layer(z, args), Tsit5(), t0=0.0, t1=40.0, y0=jnp.zeros(5), args=(w, x),
        rtol=1e-10, atol=1e-12,
    ).ys[-1]  # fmt: skip
    np.testing.assert_allclose(at_once, late, atol=1e-9)
