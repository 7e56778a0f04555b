"""Reversible methods: steps undone, and gradients with flat memory."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.errors import InputError
from continua.integrate import RK4, Bosh3, Heun, Tsit5, fixed, solve
from continua.integrate.reversible import Reversible, ReversibleHeun, march_reversible
from continua.integrate.symplectic import ImplicitMidpoint

METHODS = [Reversible(RK4()), Reversible(Bosh3(), 0.99), ReversibleHeun()]
name = str
Y0 = jnp.asarray([1.2, -0.4])


def duffing(t, y, a):
    return jnp.stack([y[1], y[0] - a * y[0] ** 3 - 0.1 * y[1] + 0.4 * jnp.cos(t)])


@functools.cache
def exact():
    def field(t, y):
        return [y[1], y[0] - 0.9 * y[0] ** 3 - 0.1 * y[1] + 0.4 * np.cos(t)]

    return solve_ivp(field, (0.0, 2.0), Y0, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]


@eqx.filter_jit
def march(engine, method, t0, ends, y0, a, counts, early=False):
    def field(t, y):
        return duffing(t, y, a)

    return engine(method, field, t0, ends, y0, counts, early)


def arguments(counts, t1=2.0, saves=1):
    ends = jnp.linspace(0.0, t1, saves + 1)[1:]
    return jnp.asarray(0.0), ends, Y0, jnp.asarray(0.9), counts


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_orders_are_kept(method):
    counts, errors = (40, 80, 160), []
    for n in counts:
        found = march(fixed.march, method, *arguments(jnp.full(1, n, jnp.int32)))
        assert int(found.evaluations) == 1 + n * method.evaluations
        errors.append(np.abs(found.ys[-1] - exact()).max())
    order = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert order == pytest.approx(method.order, abs=0.1)


@pytest.mark.parametrize("method", [Reversible(RK4()), ReversibleHeun()], ids=name)
def test_ten_thousand_steps_are_undone(method):
    steps = 10_000

    @jax.jit
    def round_trip(y):
        def field(t, y):
            return duffing(t, y, 0.9)

        dt = jnp.asarray(0.01)
        start = (y, method.begin(field, jnp.asarray(0.0), y))

        def there(i, s):
            return method.move(field, (), i.astype(dt.dtype) * dt, *s, dt)

        def back(i, s):
            return method.undo(field, (), (steps - 1 - i).astype(dt.dtype) * dt, *s, dt)

        end = jax.lax.fori_loop(0, steps, there, start)
        return start, jax.lax.fori_loop(0, steps, back, end)

    start, found = round_trip(Y0)
    for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, atol=1e-9)


def test_volumes_shrink_by_the_coupling():
    method = Reversible(RK4(), 0.9)

    def step(pair):
        t, dt = jnp.asarray(0.3), jnp.asarray(0.2)
        y, z = method.move(lambda t, y: duffing(t, y, 0.9), (), t, pair[:2], pair[2:], dt)
        return jnp.concatenate([y, z])

    derivative = jax.jit(jax.jacfwd(step))(jnp.asarray([1.2, -0.4, 1.1, -0.3]))
    np.testing.assert_allclose(np.linalg.det(derivative), 0.9**2, rtol=1e-13)


@pytest.mark.parametrize("method", [Reversible(RK4()), ReversibleHeun()], ids=name)
def test_gradients_are_those_of_the_same_steps(method):
    weights = jnp.asarray(np.random.default_rng(0).standard_normal((2, 4, 2)))

    def loss(engine, t0, ends, y0, a):
        found = march(engine, method, t0, ends, y0, a, 12)
        ends = jnp.sum(found.y_end**2)
        return jnp.sum(weights[0] * found.ys) + jnp.sum(weights[1] * found.slopes) + ends

    inputs = arguments(12, 1.0, 4)[:-1]
    gradients = [
        jax.jit(jax.grad(functools.partial(loss, engine), (0, 1, 2, 3)))(*inputs)
        for engine in (fixed.march, march_reversible)
    ]
    for plain, undone in zip(*gradients, strict=True):
        np.testing.assert_allclose(undone, plain, rtol=1e-8, atol=1e-10)


def test_gradients_agree_with_finite_differences():
    direction = jnp.asarray([0.3, -0.7])

    def loss(t0, y0, a):
        ends = jnp.asarray([0.5, 1.0, 1.7])
        counts = jnp.asarray([3, 4, 5], jnp.int32)
        found = march(march_reversible, Reversible(RK4()), t0, ends, y0, a, counts)
        return jnp.sum(jnp.sin(found.ys)) + 0.1 * jnp.sum(found.slopes**2)

    value, step = jax.jit(loss), 1e-5
    in_t0, in_y0, in_a = jax.jit(jax.grad(loss, (0, 1, 2)))(0.0, Y0, 0.9)
    rows = (
        (in_t0, (0.0 + step, Y0, 0.9), (0.0 - step, Y0, 0.9)),
        (in_y0 @ direction, (0.0, Y0 + step * direction, 0.9), (0.0, Y0 - step * direction, 0.9)),
        (in_a, (0.0, Y0, 0.9 + step), (0.0, Y0, 0.9 - step)),
    )
    for found, more, less in rows:
        difference = (value(*more) - value(*less)) / (2 * step)
        np.testing.assert_allclose(found, difference, rtol=1e-6)


def test_saves_at_the_start_and_integers_in_the_field():
    power = jnp.asarray(3)

    def loss(engine, y0, a, saves):
        def field(t, y):
            return -a * y**power

        ends = jnp.asarray([0.0, 0.5, 1.0])[:saves]
        found = engine(Reversible(Heun()), field, jnp.asarray(0.0), ends, y0, 4, True)
        return jnp.sum(jnp.sin(found.ys)) + jnp.sum(found.slopes**2)

    for saves in (3, 1):
        plain, undone = (
            jax.jit(jax.grad(functools.partial(loss, engine, saves=saves), (0, 1)))(Y0, 0.9)
            for engine in (fixed.march, march_reversible)
        )
        for a, b in zip(plain, undone, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-12)


def gradient_memory(engine, steps):
    def loss(y0, a):
        found = march(engine, Reversible(RK4()), jnp.asarray(0.0), jnp.ones(1), y0, a, steps)
        return jnp.sum(found.ys[-1])

    compiled = jax.jit(jax.grad(loss, (0, 1))).lower(Y0, jnp.asarray(0.9)).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def test_memory_of_a_gradient_does_not_grow_with_the_steps():
    undone = gradient_memory(march_reversible, 4000)
    assert undone <= gradient_memory(march_reversible, 40)
    assert gradient_memory(fixed.march, 4000) > 50 * undone


def test_vmapped_gradients_equal_a_loop():
    def loss(y0, a):
        found = march(march_reversible, Reversible(RK4()), *arguments(8, 1.0, 2)[:2], y0, a, 8)
        return jnp.sum(found.ys**2)

    y0 = Y0 + jnp.arange(3.0)[:, None] * 0.1
    a = jnp.asarray([0.5, 0.9, 1.5])
    gradient = jax.jit(jax.grad(loss, (0, 1)))
    mapped = jax.jit(jax.vmap(gradient))(y0, a)
    for i in range(3):
        for found, one in zip(mapped, gradient(y0[i], a[i]), strict=True):
            np.testing.assert_allclose(found[i], one, rtol=1e-12)


def test_what_was_not_reached_has_no_gradient():
    def loss(engine, y0):
        def field(t, y):
            return y**2

        ends = jnp.asarray([0.25, 0.5, 2.0])
        found = engine(Reversible(Heun()), field, jnp.asarray(0.0), ends, y0, 40, False)
        return jnp.sum(jnp.where(jnp.isfinite(found.ys), found.ys, 0.0)), found.code

    y0 = jnp.asarray([1.0])
    (_, code), undone = jax.value_and_grad(functools.partial(loss, march_reversible), has_aux=True)(
        y0
    )
    assert int(code) == 2
    np.testing.assert_allclose(undone, 1 / 0.75**2 + 1 / 0.5**2, rtol=1e-2)


def test_reversible_methods_go_through_solve():
    found = solve(duffing, Reversible(Tsit5()), t0=0.0, t1=2.0, y0=Y0, args=0.9, dt0=0.05)
    np.testing.assert_allclose(found.ys[-1], exact(), atol=1e-6)
    backwards = solve(
        duffing, ReversibleHeun(), t0=2.0, t1=0.0, y0=jnp.asarray(exact()), args=0.9, dt0=0.01
    )
    np.testing.assert_allclose(backwards.ys[-1], Y0, atol=1e-3)


def test_reversible_takes_explicit_methods():
    with pytest.raises(InputError, match=r"Reversible\.method"):
        Reversible(ImplicitMidpoint())
    with pytest.raises(InputError, match=r"Reversible\.coupling"):
        Reversible(RK4(), coupling=1.5)
