"""Adaptive steps of many trajectories, and gradients through them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.integrate import Direct, Dopri5, Replay, Tsit5, solve
from continua.integrate.lanes import MOST_LANES

RATES = jnp.asarray([1.1, 0.4, 0.4, 0.1])
START = jnp.asarray([10.0, 5.0])
TIMES = jnp.linspace(0.0, 10.0, 6)
TIGHT = {"rtol": 1e-8, "atol": 1e-10}


def lotka_volterra(t, y, a):
    return jnp.stack([a[0] * y[0] - a[1] * y[0] * y[1], -a[2] * y[1] + a[3] * y[0] * y[1]])


def run(y0, a, **options):
    options = {"saveat": TIMES, **TIGHT, **options}
    return solve(lotka_volterra, Tsit5(), t0=0.0, t1=10.0, y0=y0, args=a, **options)


def loss(y0, a, gradient=None):
    found = run(y0, a, gradient=gradient or Replay())
    return jnp.sum(jnp.sin(found.ys)) + 0.1 * jnp.sum(found.slopes[1:] ** 2)


SLOPE = jax.jit(jax.grad(loss, 1))


def starts(count):
    return START + jax.random.normal(jax.random.key(0), (count, 2))


def largest(a, b):
    return float(jnp.abs(a - b).max() / jnp.abs(b).max())


def test_reverse_mode_equals_forward_mode():
    reverse = jax.jit(jax.grad(loss, (0, 1)))(START, RATES)
    forward = jax.jit(jax.jacfwd(lambda y, a: loss(y, a, Direct()), (0, 1)))(START, RATES)
    for a, b in zip(reverse, forward, strict=True):
        assert largest(a, b) < 1e-12


def test_reverse_mode_agrees_with_finite_differences():
    direction = jnp.asarray([0.3, -0.2, 0.1, 0.05])
    step, value = 1e-5, jax.jit(loss)
    exact = (value(START, RATES + step * direction) - value(START, RATES - step * direction)) / (
        2 * step
    )
    np.testing.assert_allclose(SLOPE(START, RATES) @ direction, exact, rtol=1e-6)


def test_second_derivatives_agree():
    def both(a):
        return loss(START, a, Direct())

    forward = jax.jit(jax.jacfwd(jax.jacfwd(both)))(RATES)
    mixed = jax.jit(jax.jacfwd(jax.grad(loss, 1), 1))(START, RATES)
    assert largest(mixed, forward) < 1e-11


@pytest.mark.parametrize("method", [Tsit5(), Dopri5()], ids=["Tsit5", "Dopri5"])
def test_what_a_field_closes_over_has_its_gradient(method):
    def final(rate):
        found = solve(
            lambda t, y, _: -rate * y,
            method,
            t0=0.0,
            t1=1.0,
            y0=jnp.ones(1),
            rtol=1e-10,
            atol=1e-12,
        )
        return found.ys[0, 0]

    np.testing.assert_allclose(jax.grad(final)(0.7), -np.exp(-0.7), rtol=1e-8)


def test_gradients_in_the_times():
    def final(t0, t1):
        found = solve(lambda t, y, _: -t * y, Tsit5(), t0=t0, t1=t1, y0=jnp.ones(1), **TIGHT)
        return found.ys[0, 0]

    value = np.exp(-(1.5**2 - 0.5**2) / 2)
    in_t0, in_t1 = jax.grad(final, (0, 1))(0.5, 1.5)
    np.testing.assert_allclose(in_t0, 0.5 * value, rtol=1e-6)
    np.testing.assert_allclose(in_t1, -1.5 * value, rtol=1e-6)


def test_every_trajectory_takes_the_steps_that_it_takes_alone():
    y0 = starts(5)
    alone = [run(y, RATES) for y in y0]
    mapped = jax.jit(jax.vmap(lambda y: run(y, RATES)))(y0)
    together = run(y0, RATES, ensemble=True)
    for found in (mapped, together):
        assert found.ys.shape == (5, 6, 2)
        for i, one in enumerate(alone):
            np.testing.assert_allclose(found.ys[i], one.ys, rtol=1e-12)
            assert int(found.steps[i]) == int(one.steps)
            assert int(found.evaluations[i]) == int(one.evaluations)


def test_lanes_take_up_what_waits():
    """More trajectories than lanes, of very different lengths."""
    count = 2 * MOST_LANES + 37
    rates = jnp.linspace(0.1, 60.0, count)

    def field(t, y, args):
        return jnp.stack([y[1] * y[2], -y[0] * y[2], jnp.zeros_like(t)])

    y0 = jnp.stack([jnp.ones(count), jnp.zeros(count), rates], axis=-1)
    found = solve(
        field, Tsit5(), t0=0.0, t1=1.0, y0=y0, saveat=jnp.asarray([0.0, 0.5, 1.0]),
        ensemble=True, **TIGHT,
    )  # fmt: skip
    assert not found.code.any()
    assert int(found.steps.max()) > 10 * int(found.steps.min())
    for i, t in enumerate((0.0, 0.5, 1.0)):
        np.testing.assert_allclose(found.ys[:, i, 0], np.cos(rates * t), atol=1e-6)


def test_a_failure_stays_in_its_lane():
    def field(t, y, args):
        return y**2

    y0 = jnp.asarray([[0.5], [2.0], [0.1]])  # the second one blows up at t = 0.5
    found = solve(field, Tsit5(), t0=0.0, t1=1.0, y0=y0, ensemble=True, **TIGHT)
    assert [int(c) for c in found.code] == [0, 2, 0]
    np.testing.assert_allclose(found.t_end[1], 0.5, atol=1e-3)
    exact = y0 / (1 - y0)
    np.testing.assert_allclose(found.ys[[0, 2], 0], exact[jnp.asarray([0, 2])], rtol=1e-6)
    assert np.isnan(found.ys[1]).all()


def test_gradients_of_an_ensemble_through_any_road():
    y0 = starts(7)

    def ensemble(a):
        return jnp.mean(jnp.sum(jnp.sin(run(y0, a, ensemble=True).ys), axis=(1, 2)))

    def mapped(a):
        return jnp.mean(jax.vmap(lambda y: jnp.sum(jnp.sin(run(y, a).ys)))(y0))

    def forward(a):
        found = jax.vmap(lambda y: run(y, a, gradient=Direct()).ys)(y0)
        return jnp.mean(jnp.sum(jnp.sin(found), axis=(1, 2)))

    exact = jax.jit(jax.jacfwd(forward))(RATES)
    assert largest(jax.jit(jax.grad(ensemble))(RATES), exact) < 1e-12
    assert largest(jax.jit(jax.grad(mapped))(RATES), exact) < 1e-12


def test_gradients_of_each_trajectory():
    y0 = starts(3)
    each = jax.jit(jax.vmap(jax.grad(loss, 1), (0, None)))(y0, RATES)
    for i, y in enumerate(y0):
        assert largest(each[i], SLOPE(y, RATES)) < 1e-12
    own = jnp.stack([RATES, 1.1 * RATES, 0.9 * RATES])
    mapped = jax.jit(jax.vmap(jax.grad(loss, 1)))(y0, own)
    for i, y in enumerate(y0):
        assert largest(mapped[i], SLOPE(y, own[i])) < 1e-12


def test_segments_that_are_done_again():
    """Far more steps than a segment holds, on fewer lanes than trajectories."""

    def total(a, gradient):
        found = run(starts(3), a, ensemble=True, t1=60.0, gradient=gradient)
        return jnp.sum(jnp.cos(found.ys)), found.steps

    def run(y0, a, **options):
        return solve(
            lotka_volterra, Tsit5(), t0=0.0, y0=y0, args=a, saveat=jnp.linspace(0, 60, 7),
            rtol=1e-9, atol=1e-9, **options,
        )  # fmt: skip

    reverse, steps = jax.jit(jax.grad(lambda a: total(a, Replay()), has_aux=True))(RATES)
    assert int(steps.min()) > 400
    forward = jax.jit(jax.jacfwd(lambda a: total(a, Direct())[0]))(RATES)
    assert largest(reverse, forward) < 1e-10


def test_memory_grows_with_the_root_of_the_steps():
    """Of a thousand numbers: a state a step would be 8 MB for each thousand steps."""

    def needed(steps):
        def total(y0):
            found = solve(
                lambda t, y, a: jnp.roll(y, 1) - y, Tsit5(), t0=0.0, t1=1.0, y0=y0,
                gradient=Replay(steps=steps),
            )  # fmt: skip
            return jnp.sum(found.ys)

        memory = jax.jit(jax.grad(total)).lower(jnp.ones(1000)).compile().memory_analysis()
        return memory.temp_size_in_bytes

    few, many = needed(4096), needed(65536)
    assert few < 8e6
    assert many < 4.5 * few


def test_integers_and_keys_in_the_arguments_have_no_gradient():
    args = {"rate": jnp.asarray(0.7), "power": jnp.asarray(1)}

    def field(t, y, a):
        return -a["rate"] * y * a["power"].astype(y.dtype)

    def final(rate):
        given = {**args, "rate": rate}
        return solve(field, Tsit5(), t0=0.0, t1=1.0, y0=jnp.ones(1), args=given, **TIGHT).ys[0, 0]

    np.testing.assert_allclose(jax.grad(final)(0.7), -np.exp(-0.7), rtol=1e-6)


def test_room_for_too_few_steps_is_the_step_limit():
    def final(a):
        found = run(START, a, gradient=Replay(steps=20))
        return found.ys[-1, 0], found.code

    (value, code), _ = jax.value_and_grad(final, has_aux=True)(RATES)
    assert int(code) == 1
    assert np.isnan(value)
