"""Saves read off the polynomials of the steps: order conditions, errors, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.precision import precision
from continua.integrate import (
    Bosh3,
    Continuous,
    Direct,
    Dopri5,
    Dopri8,
    Event,
    Replay,
    Tsit5,
    Vern7,
    Vern9,
    runge_kutta,
    solve,
)
from tests.integrate.test_runge_kutta import matrix, trees
from tests.integrate.traced import Traced

WITH_POLYNOMIALS = [Bosh3(), Dopri5(), Tsit5(), Vern7(), Dopri8(), Vern9()]
OF_HIGH_ORDER = [Vern7(), Dopri8(), Vern9()]
name = lambda m: m.name  # noqa: E731


def whole(method):
    """`a` and `c` of all stages, the slope at the end and the further ones among them, and
    the number of the slope at the end."""
    t = method.tableau
    last = t.stages - 1 if t.first_same_as_last else t.stages
    a = np.zeros((last + 1, last + 1))
    a[: t.stages, : t.stages] = matrix(t)
    a[last, : len(t.b)] = t.b[: last + 1]
    c = np.append(t.c[:last], 1.0)
    if method.extension is not None:
        e, n = method.extension, last + 1
        used = [*e.used, *range(n, n + len(e.c))]
        a = np.pad(a, (0, len(e.c)))
        for i, row in enumerate(e.a):
            a[n + i, used[: len(row)]] = row
        c = np.append(c, e.c)
    return a, c, last


def weights(method, share):
    """The weights of all stages in a state inside a step."""
    t, (a, _, last) = method.tableau, whole(method)
    rows = np.zeros((0, len(a)))
    if t.bend is not None:
        rows = np.array([t.bend])
    if method.extension is not None:
        e, n = method.extension, last + 1
        rows = np.zeros((len(e.bends), len(a)))
        rows[:, [*e.used, *range(n, n + len(e.c))]] = e.bends
    start, first, end, after, *bent = runge_kutta.basis(share, len(rows))
    assert start + end == pytest.approx(1.0, abs=1e-15)
    found = end * a[last] + np.array(bent) @ rows
    found[0] += first
    found[last] += after
    return found


@pytest.mark.parametrize("method", WITH_POLYNOMIALS, ids=name)
def test_order_conditions_of_all_trees_within_a_step(method):
    a, c, _ = whole(method)
    conditions = trees(*(np.asarray(x, np.longdouble) for x in (a, c)), method.dense_order + 1)
    np.testing.assert_allclose(a.sum(axis=1), c, atol=1e-14 * max(1.0, np.abs(a).max()))
    size = max(1.0, np.abs(a).max())
    above = 0.0
    for share in (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0):
        w = weights(method, share)
        for r in range(1, method.dense_order + 1):
            for weight, exact in conditions[r]:
                assert w @ weight == pytest.approx(share**r * exact, abs=1e-14 * size)
        r = method.dense_order + 1
        above = max(above, *(abs(w @ v - share**r * e) for v, e in conditions[r]))
    assert above > 1e-6  # the order is the one that is told
    assert method.dense_order >= method.order - 1


@pytest.mark.parametrize("method", OF_HIGH_ORDER, ids=name)
def test_errors_within_a_step_are_less_than_what_the_step_is_accepted_for(method):
    """Of the next order, in all trees together: those of the polynomial and of the estimate."""
    a, c, last = whole(method)
    q = method.dense_order + 1
    assert q == method.error_order + 1
    conditions = trees(a, c, q)[q]
    estimate = np.pad(method.tableau.error, (0, len(a) - method.tableau.stages))
    size = np.linalg.norm([estimate @ v for v, _ in conditions])
    for share in np.linspace(0.1, 0.9, 9):
        w = weights(method, share)
        inside = np.linalg.norm([w @ v - share**q * e for v, e in conditions])
        assert inside < 0.25 * size


@pytest.mark.parametrize("method", WITH_POLYNOMIALS, ids=name)
def test_orders_within_a_step_as_they_are_measured(method):
    def field(t, y):
        return jnp.stack([y[1] * y[2], -y[0] * y[2] + jnp.sin(t), -0.5 * y[0] * y[1]])

    y0 = jnp.asarray([1.0, 0.4, 1.2])
    shares = np.array([0.15, 0.4, 0.7, 0.95])

    @jax.jit
    def read(dt):
        new, after, _, bend = method.step(field, 0.0, y0, field(0.0, y0), dt)
        bends = method.bends(field, 0.0, y0, dt, bend)
        parts = (y0, dt * field(0.0, y0), new, dt * after, *bends)
        values = runge_kutta.basis(jnp.asarray(shares), len(bends))
        return sum(v[:, None] * part for v, part in zip(values, parts, strict=True))

    @jax.jit
    def exact(dt):
        return solve(
            lambda t, y, _: field(t, y), Vern9(), t0=0.0, t1=dt, y0=y0, rtol=1e-14, atol=1e-15,
            saveat=dt * shares, dense=False,
        ).ys  # fmt: skip

    lengths, errors = (0.3, 0.25, 0.2, 0.16), []
    for dt in lengths:
        errors.append(np.abs(np.asarray(read(dt) - exact(dt))).max())
    order = np.polyfit(np.log(lengths), np.log(errors), 1)[0]
    # Of one step the error is of one order more.
    assert method.dense_order + 0.6 < order < method.dense_order + 1.6


def kepler(t, y, args):
    return jnp.concatenate([y[2:], -y[:2] / jnp.sum(y[:2] ** 2) ** 1.5])


MANY = np.linspace(0.0, 3.0, 301)


@pytest.fixture(scope="module")
def orbit():
    y0 = jnp.asarray([0.7, 0.0, 0.0, np.sqrt(1.3 / 0.7)])
    found = solve(
        kepler, Vern9(), t0=0.0, t1=3.0, y0=y0, saveat=MANY, rtol=1e-14, atol=1e-14, dense=False
    )
    return y0, np.asarray(found.ys)


@pytest.mark.parametrize("method", [Tsit5(), *OF_HIGH_ORDER], ids=name)
def test_saves_are_as_exact_as_the_steps_and_cost_none(method, orbit):
    y0, exact = orbit

    @Traced
    def run(rtol):
        options = {"t0": 0.0, "t1": 3.0, "y0": y0, "rtol": rtol, "atol": rtol}
        # The second has but its steps: its saves lie at the start and at the end.
        return (
            solve(kepler, method, saveat=MANY, **options),
            solve(kepler, method, saveat=MANY[[0, -1]], **options),
        )

    for rtol in (1e-5, 1e-8, 1e-11):
        many, two = run(rtol)
        assert int(many.steps) == int(two.steps)
        assert int(many.rejected) == int(two.rejected)
        assert int(many.steps) < len(MANY) or method == Tsit5()
        np.testing.assert_array_equal(many.ys[-1], two.ys[-1])
        errors = np.abs(np.asarray(many.ys) - exact).max(axis=1)
        assert errors.max() < 10 * rtol
        # No save is worse than the worst of the states that steps ended with.
        assert errors.max() < 3 * errors[len(errors) // 2 :].max()
    assert run.traces == 1


def pendulum(t, y, a):
    return jnp.stack([y[1], -a[0] * jnp.sin(y[0]) - a[1] * y[1] + 0.1 * jnp.cos(t)])


RATES, START = jnp.asarray([1.3, 0.2]), jnp.asarray([1.0, 0.3])
FEW = jnp.asarray([0.0, 0.37, 0.5, 0.52, 0.55, 0.58, 0.6, 2.9, 4.0, 6.0])


def loss(y0, a, method, gradient, **options):
    found = solve(
        pendulum, method, t0=0.0, t1=6.0, y0=y0, args=a, saveat=FEW, rtol=1e-9, atol=1e-10,
        gradient=gradient, **options,
    )  # fmt: skip
    return jnp.sum(jnp.sin(3.0 * found.ys)) + 0.1 * jnp.sum(found.slopes**2)


@pytest.mark.parametrize("method", OF_HIGH_ORDER, ids=name)
def test_gradients_through_saves(method):
    def both(gradient):
        return lambda of: loss(of[:2], of[2:], method, gradient)

    of, direction = jnp.concatenate([START, RATES]), jnp.asarray([0.1, 0.3, 0.6, -0.8])
    reverse = jax.jit(jax.value_and_grad(both(Replay())))
    slope = reverse(of)[1]
    forward = jax.jit(lambda of: jax.jvp(both(Direct()), (of,), (direction,))[1])(of)
    np.testing.assert_allclose(slope @ direction, forward, rtol=1e-11)
    h = 1e-5
    difference = (reverse(of + h * direction)[0] - reverse(of - h * direction)[0]) / (2 * h)
    np.testing.assert_allclose(forward, difference, rtol=1e-6)
    if method == Vern7():
        adjoint = jax.jit(jax.grad(both(Continuous())))(of)
        np.testing.assert_allclose(adjoint, slope, rtol=1e-6)


def test_second_derivatives_through_saves():
    def direct(a):
        return loss(START, a, Vern7(), Direct())

    exact = jax.jit(jax.jacfwd(jax.jacfwd(direct)))
    h, slope = 1e-4, jax.jit(jax.jacfwd(direct))
    sides = [(slope(RATES + h * e) - slope(RATES - h * e)) / (2 * h) for e in jnp.eye(2)]
    np.testing.assert_allclose(exact(RATES), jnp.stack(sides), rtol=1e-5, atol=1e-5)


Y0 = START + jnp.asarray([[0.0, 0.0], [0.5, -0.2], [-1.0, 1.0]])


def test_trajectories_that_save_elsewhere():
    """Lanes with a save inside their step beside others without."""
    until = jnp.asarray([6.0, 2.5, 4.0])

    def run(y0, t1):
        return solve(
            pendulum, Dopri8(), t0=0.0, t1=t1, y0=y0, args=RATES, rtol=1e-8,
            saveat=t1 * jnp.asarray([0.0, 0.31, 0.33, 1.0]),
        )  # fmt: skip

    together = jax.jit(jax.vmap(run))(Y0, until)
    alone = jax.jit(run)
    for i in range(3):
        one = alone(Y0[i], until[i])
        np.testing.assert_allclose(together.ys[i], one.ys, rtol=1e-12)
        assert int(together.steps[i]) == int(one.steps)
        assert int(together.evaluations[i]) == int(one.evaluations)


def test_gradients_of_an_ensemble_through_saves():
    def total(a, gradient):
        found = solve(
            pendulum, Vern7(), t0=0.0, t1=6.0, y0=Y0, args=a, saveat=FEW, rtol=1e-8,
            gradient=gradient, ensemble=True,
        )  # fmt: skip
        return jnp.sum(jnp.cos(found.ys))

    reverse = jax.jit(jax.grad(lambda a: total(a, Replay())))(RATES)
    forward = jax.jit(jax.jacfwd(lambda a: total(a, Direct())))(RATES)
    np.testing.assert_allclose(reverse, forward, rtol=1e-11)


def test_saves_before_an_event():
    def hits(t, y, args):
        return y[0]

    event = Event(hits, direction=-1)
    found = solve(
        lambda t, y, _: jnp.stack([y[1], -jnp.ones_like(t)]), Vern7(), t0=0.0, t1=5.0,
        y0=jnp.asarray([2.0, 0.0]), saveat=jnp.linspace(0.0, 5.0, 27), events=(event,),
    )  # fmt: skip
    reached = np.asarray(found.ts) <= 2.0
    np.testing.assert_allclose(found.t_end, 2.0, rtol=1e-12)
    np.testing.assert_allclose(found.ys[reached, 0], 2.0 - found.ts[reached] ** 2 / 2, atol=1e-12)
    assert np.isnan(np.asarray(found.ys)[~reached]).all()


def test_single_precision():
    with precision("float32"):
        found = solve(
            lambda t, y, a: -y, Vern7(), t0=0.0, t1=2.0, y0=jnp.ones(2), rtol=1e-5,
            saveat=jnp.linspace(0.0, 2.0, 21),
        )  # fmt: skip
        assert found.ys.dtype == jnp.float32
        np.testing.assert_allclose(found.ys[:, 0], np.exp(-np.linspace(0, 2, 21)), rtol=2e-5)
