"""Events: their times, what they change, gradients through them, lanes, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.integrate import RK4, Direct, Event, Replay, Tsit5, solve

TIGHT = {"rtol": 1e-9, "atol": 1e-11}
BALL = jnp.asarray([9.81, 0.8])  # gravity, and the share of the speed that is kept
START = jnp.asarray([1.0, 0.3])
BOUNCE = Event(
    lambda t, y, a: y[0],
    lambda t, y, a: jnp.stack([jnp.zeros_like(y[0]), -a[1] * y[1]]),
    direction=-1,
)


def ball(t, y, a):
    return jnp.stack([y[1], -a[0]])


def fall(y0, a=BALL, t1=2.0, events=(BOUNCE,), **options):
    times = jnp.linspace(0.0, t1, 5)
    return solve(
        ball, Tsit5(), t0=0.0, t1=t1, y0=y0, args=a, saveat=times, events=events, **TIGHT, **options
    )


def bounces(y0, count):
    g, kept = BALL
    times, speed = [(y0[1] + np.sqrt(y0[1] ** 2 + 2 * g * y0[0])) / g], None
    speed = g * times[0] - y0[1]
    for _ in range(count - 1):
        speed = kept * speed
        times.append(times[-1] + 2 * speed / g)
    return np.array(times)


@pytest.fixture(scope="module")
def many():
    return jax.jit(lambda y0: fall(y0, ensemble=True))(
        jnp.asarray([[1.0, 0.3], [0.5, 0.0], [3.0, -1.0], [90.0, 0.0]])
    )


def test_times_of_a_bouncing_ball(many):
    for i, y0 in enumerate([(1.0, 0.3), (0.5, 0.0), (3.0, -1.0), (90.0, 0.0)]):
        count = int(many.events.count[i])
        exact = bounces(y0, max(count, 1))
        assert count == np.sum(bounces(y0, 20) < 2.0)
        np.testing.assert_allclose(many.events.ts[i, :count], exact[:count], rtol=1e-13)
        assert np.isnan(many.events.ts[i, count:]).all()
        np.testing.assert_array_equal(many.events.which[i, :count], 0)
        np.testing.assert_array_equal(many.events.which[i, count:], -1)
    assert not many.code.any()


def test_a_lane_takes_the_steps_that_it_takes_alone(many):
    alone = fall(START)
    np.testing.assert_allclose(many.ys[0], alone.ys, rtol=1e-12)
    np.testing.assert_allclose(many.events.ts[0], alone.events.ts, rtol=1e-13)
    mapped = jax.vmap(fall)(jnp.stack([START, 2 * START]))
    np.testing.assert_allclose(mapped.ys[0], alone.ys, rtol=1e-12)


def loss(y0, a, gradient):
    found = fall(y0, a, gradient=gradient)
    return jnp.sum(jnp.sin(found.ys)) + found.events.ts[1] ** 2 + jnp.sum(found.y_end)


def test_gradients_through_events():
    reverse = jax.jit(jax.grad(lambda y, a: loss(y, a, Replay()), (0, 1)))(START, BALL)
    forward = jax.jit(jax.jacfwd(lambda y, a: loss(y, a, Direct()), (0, 1)))(START, BALL)
    value, h = jax.jit(lambda y, a: loss(y, a, Replay())), 1e-5
    for i in range(2):
        step = h * jnp.eye(2)[i]
        in_y = (value(START + step, BALL) - value(START - step, BALL)) / (2 * h)
        in_a = (value(START, BALL + step) - value(START, BALL - step)) / (2 * h)
        np.testing.assert_allclose([reverse[0][i], reverse[1][i]], [in_y, in_a], rtol=1e-6)
    for a, b in zip(reverse, forward, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7)


def test_an_event_ends_the_solve():
    def landing(height):
        ground = Event(lambda t, y, a: y[0])
        found = fall(jnp.stack([height, jnp.zeros_like(height)]), events=[ground])
        return found.t_end + 0.1 * found.y_end[1], found

    (_, found), slope = jax.value_and_grad(landing, has_aux=True)(jnp.asarray(1.0))
    time = np.sqrt(2 / 9.81)
    assert float(found.t_end) == pytest.approx(time, rel=1e-14)
    np.testing.assert_allclose(found.y_end, [0.0, -9.81 * time], rtol=1e-12, atol=1e-13)
    assert int(found.code) == 0
    reached = np.isfinite(np.asarray(found.ys)).all(axis=1)
    np.testing.assert_array_equal(reached, np.asarray(found.ts) <= time)
    # t = sqrt(2 h / g), v = -sqrt(2 g h)
    exact = 1 / np.sqrt(2 * 9.81) - 0.1 * np.sqrt(9.81 / 2)
    assert float(slope) == pytest.approx(exact, rel=1e-9)


def test_doses_at_given_times():
    """One compartment that is emptied at a rate and filled anew at the full hours."""
    dose = Event(lambda t, y, a: jnp.sin(jnp.pi * (t - 0.5)) + 0 * y[0], lambda t, y, a: y + 1.0)

    def amount(rate):
        found = solve(
            lambda t, y, k: -k * y, Tsit5(), t0=0.0, t1=3.0, y0=jnp.ones(1), args=rate,
            events=[dose], **TIGHT,
        )  # fmt: skip
        return found.ys[-1, 0]

    def exact(k):
        return np.exp(-3 * k) + sum(np.exp(-k * (3 - s)) for s in (0.5, 1.5, 2.5))

    value, slope = jax.value_and_grad(amount)(0.7)
    assert float(value) == pytest.approx(exact(0.7), rel=1e-8)
    central = (exact(0.7 + 1e-6) - exact(0.7 - 1e-6)) / 2e-6
    assert float(slope) == pytest.approx(central, rel=1e-7)


def test_the_earlier_of_two_events_comes_first_and_directions_count():
    rising = Event(lambda t, y, a: y[0] - 0.5, lambda t, y, a: y, direction=1)
    falling = Event(lambda t, y, a: y[0] - 0.6, lambda t, y, a: y, direction=-1)
    found = solve(
        lambda t, y, a: jnp.stack([y[1], -y[0]]), Tsit5(), t0=0.0, t1=2 * np.pi,
        y0=jnp.asarray([0.0, 1.0]), events=[rising, falling], **TIGHT,
    )  # fmt: skip
    assert int(found.events.count) == 2
    np.testing.assert_array_equal(found.events.which[:2], [0, 1])
    times = [np.arcsin(0.5), np.pi - np.arcsin(0.6)]
    np.testing.assert_allclose(found.events.ts[:2], times, rtol=1e-8)


def test_backwards_in_time():
    def field(t, y, a):
        return jnp.ones_like(y)

    crossing = Event(lambda t, y, a: y[0] - 0.25)
    found = solve(field, Tsit5(), t0=1.0, t1=0.0, y0=jnp.ones(1), events=[crossing], **TIGHT)
    assert float(found.t_end) == pytest.approx(0.25, rel=1e-12)
    assert float(found.events.ts[0]) == pytest.approx(0.25, rel=1e-12)


def test_bad_events():
    for events, options, message in (
        ([Event(lambda t, y, a: y)], {}, "expected one real number"),
        ([Event(lambda t, y, a: y[0], lambda t, y, a: y[0])], {}, "another shape than the state"),
        ([BOUNCE], {"dt0": 0.1}, "events need adaptive steps"),
        ([BOUNCE] * 16, {}, "at most 15"),
    ):
        method = RK4() if options else Tsit5()
        with pytest.raises(InputError, match=message):
            solve(
                ball, method, t0=0.0, t1=1.0, y0=START, args=BALL, events=events, **options
            )  # fmt: skip
    with pytest.raises(InputError, match="direction"):
        Event(lambda t, y, a: y[0], direction=2)
