"""Stochastic equations with jumps: laws, exact paths, thinning, gradients, likelihoods."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from continua.core.errors import InputError
from continua.integrate.stochastic import (
    SDE,
    SRIW1,
    BrownianPath,
    EulerMaruyama,
    Jumps,
    SPaRK,
    StochasticHeun,
    StochasticReversibleHeun,
    brownian,
    jumps,
    solve_sde,
    with_fractional_noise,
    with_jump_likelihood,
    with_path_kl,
)
from continua.integrate.stochastic.brownian import Increment
from continua.integrate.trajectory import NON_FINITE, STEP_LIMIT

KEY = jax.random.key(4)
PATHS = 2000
A, B, RATE, MEAN, WIDTH = 0.1, 0.3, 2.0, -0.1, 0.4
EM = EulerMaruyama()


def scaled(t, y, z, args):
    """The jumps of Merton's model: the state is multiplied by a lognormal number."""
    return y * jnp.expm1(MEAN + WIDTH * z)


def merton(**more):
    given = {"change": scaled, "rate": RATE, **more}
    return SDE(lambda t, y, _: A * y, lambda t, y, _: B * y, jumps=Jumps(**given))


def still(change=lambda t, y, z, _: jnp.ones_like(y), **more):
    """Nothing but jumps."""
    zero = lambda t, y, _: 0 * y  # noqa: E731
    return SDE(zero, zero, jumps=Jumps(change, **{"rate": RATE, **more}))


def run(sde, method=EM, n=1, paths=PATHS, **options):
    options = {"t0": 0.0, "t1": 1.0, "dt0": 1 / 8, "key": KEY, **options}

    def draw():
        return solve_sde(sde, method, y0=jnp.ones((paths, n)), ensemble=True, **options)

    return jax.jit(draw)()


@functools.lru_cache
def drawn(rate=RATE, paths=PATHS):
    """Times and marks of all jumps up to 1."""
    count = jumps.most(Jumps(scaled, rate), 0.0, 1.0)
    numbers = jnp.arange(paths, dtype=jnp.uint32)
    seed = brownian.seeds(KEY, numbers, 1)
    found = jumps.candidates(Jumps(scaled, rate), KEY, numbers, jnp.zeros(()), count, seed)
    return np.asarray(found.times), np.asarray(found.marks)


def within(sample, mean, variance, bars=4.5):
    """Whether a mean is what it should be."""
    return abs(np.mean(sample) - mean) < bars * np.sqrt(variance / len(sample))


# Brownian motion on both sides of a point


@pytest.mark.parametrize("share", [0.5, 0.03, 0.8])
def test_parts_of_a_piece_have_the_law_of_brownian_motion(share):
    h = 0.7

    def parts(x):
        whole = Increment(x[0] * h**0.5, x[1] * (h / 12) ** 0.5)
        first, rest = brownian.split(whole, share, h, x[2], x[3])
        return jnp.stack([first.w, first.area, rest.w, rest.area])

    matrix = np.asarray(jax.jacobian(parts)(jnp.zeros(4)))
    r, q = share * h, h - share * h
    np.testing.assert_allclose(matrix @ matrix.T, np.diag([r, r / 12, q, q / 12]), atol=1e-15)
    # And they make up the whole: its integral is h (W/2 + H).
    x = np.array([0.3, -0.4, 1.1, 0.2])
    w1, h1, w2, h2 = matrix @ x
    assert w1 + w2 == pytest.approx(x[0] * h**0.5)
    integral = r * (w1 / 2 + h1) + q * (w1 + w2 / 2 + h2)
    assert integral / h - (w1 + w2) / 2 == pytest.approx(x[1] * (h / 12) ** 0.5)


def test_halves_are_a_split():
    whole, n1, n2 = Increment(jnp.asarray(0.4), jnp.asarray(0.1)), 0.7, -1.3
    first, rest = brownian.split(whole, 0.5, 0.3, n1, n2)
    z1, z2 = n1 * (0.3 / 16) ** 0.5, n2 * (0.3 / 12) ** 0.5
    np.testing.assert_allclose(first[:2], (0.2 + 0.15 + z1, 0.025 - z1 / 2 + z2 / 2))
    np.testing.assert_allclose(rest[:2], (0.2 - 0.15 - z1, 0.025 - z1 / 2 - z2 / 2))


# Laws


def test_counts_and_sums_are_those_of_a_compound_poisson_process():
    sde = still(lambda t, y, z, _: jnp.stack([jnp.ones_like(z), MEAN + WIDTH * z]))
    found = run(sde, n=2, saveat=np.array([0.25, 1.0]))
    counts = np.asarray(found.ys)[..., 0] - 1
    times = drawn()[0]
    np.testing.assert_array_equal(counts[:, 1], np.sum(times < 1, axis=0))
    np.testing.assert_array_equal(counts[:, 0], np.sum(times < 0.25, axis=0))
    seen = np.bincount(counts[:, 1].astype(int), minlength=8)
    expected = PATHS * stats.poisson.pmf(np.arange(7), RATE)
    observed = np.append(seen[:7], np.sum(seen[7:]))
    assert stats.chisquare(observed, np.append(expected, PATHS - expected.sum())).pvalue > 1e-4
    assert stats.kstest(times[times < 1], "uniform").pvalue > 1e-4
    early, late = counts[:, 0], counts[:, 1] - counts[:, 0]
    assert abs(np.corrcoef(early, late)[0, 1]) < 4.5 / np.sqrt(PATHS)
    x = np.asarray(found.ys)[:, -1, 1] - 1
    for u in (0.5, 1.5, 4.0):
        exact = np.exp(RATE * (np.exp(1j * u * MEAN - (WIDTH * u) ** 2 / 2) - 1))
        spread = 1 - abs(exact) ** 2
        assert abs(np.mean(np.exp(1j * u * x)) - exact) < 4.5 * np.sqrt(spread / PATHS)


def test_law_of_merton_with_adaptive_steps():
    found = run(merton(), SPaRK(), dt0=None, rtol=1e-2, atol=1e-2, saveat=np.array([0.3, 1.0]))
    assert np.all(np.asarray(found.code) == 0)
    factor = np.exp(MEAN + WIDTH**2 / 2) - 1
    for row, t in zip(np.asarray(found.ys)[..., 0].T, (0.3, 1.0), strict=True):
        assert within(row, np.exp((A + RATE * factor) * t), np.var(row))
        logs, variance = np.log(row), (B**2 + RATE * (MEAN**2 + WIDTH**2)) * t
        assert within(logs, (A - B**2 / 2 + RATE * MEAN) * t, variance)
        fourth = RATE * t * (MEAN**4 + 6 * MEAN**2 * WIDTH**2 + 3 * WIDTH**4)
        bar = 4.5 * np.sqrt((2 * variance**2 + fourth) / PATHS)
        assert abs(np.var(logs) - variance) < bar


@functools.lru_cache
def ended(method, halvings):
    """States at 1 with steps of a quarter, halved."""
    return np.asarray(run(merton(), method, dt0=1 / 4, halvings=halvings).ys)[:, -1, 0]


def test_density_of_merton():
    # A Poisson mixture of normal laws.
    logs = np.log(ended(SRIW1(), 5))
    n = np.arange(30)
    weights = stats.poisson.pmf(n, RATE)
    means, widths = A - B**2 / 2 + n * MEAN, np.sqrt(B**2 + n * WIDTH**2)
    law = lambda x: stats.norm.cdf((np.asarray(x)[..., None] - means) / widths) @ weights  # noqa: E731
    assert stats.kstest(logs, law).pvalue > 1e-4


# Paths


@pytest.mark.parametrize(
    ("method", "order"),
    [(EM, 0.5), (SRIW1(), 1.5)],
    ids=lambda x: getattr(x, "name", None),
)
def test_strong_orders_are_those_without_jumps(method, order):
    times, marks = drawn()
    w = BrownianPath(0.0, 1 / 4, 1, key=KEY, path=jnp.arange(PATHS)).increments(4).sum(axis=0)[0]
    kicks = np.sum(np.where(times < 1, MEAN + WIDTH * marks, 0), axis=0)
    exact = np.exp(A - B**2 / 2 + B * np.asarray(w) + kicks)
    errors = []
    for halvings in (1, 5):
        errors.append(np.sqrt(np.mean((ended(method, halvings) - exact) ** 2)))
    # Jumps shorten steps, more so the longest.
    assert np.log2(errors[0] / errors[1]) / 4 == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("dt0", [1 / 8, None])
def test_jumps_are_where_they_are(dt0):
    # Doubled by each jump and growing by 1 in a unit of time, without an error.
    sde = SDE(
        lambda t, y, _: jnp.ones_like(y), lambda t, y, _: 0 * y,
        jumps=Jumps(lambda t, y, z, _: y, RATE),
    )  # fmt: skip
    saves = np.array([0.0, 0.125, 0.4, 0.4, 1.0])
    found = run(sde, StochasticHeun(), paths=50, dt0=dt0, saveat=saves)
    for path in range(50):
        times = drawn()[0][:, path]
        for i, save in enumerate(saves):
            y, t = 1.0, 0.0
            for time in times[times < save]:
                y, t = 2 * (y + time - t), time
            exact = y + save - t
            assert found.ys[path, i, 0] == pytest.approx(exact, rel=1e-12)
    if dt0:
        before = np.sum(drawn()[0][:, :50] < 1, axis=0)
        np.testing.assert_array_equal(found.steps, 1 + 3 + 5 + before)


def test_without_a_rate_nothing_changes():
    plain = SDE(lambda t, y, _: A * y, lambda t, y, _: B * y)
    options = {"method": StochasticHeun(), "paths": 5, "saveat": np.array([0.4, 1.0])}
    exact, found = (run(sde, **options) for sde in (plain, merton(rate=0.0)))
    np.testing.assert_allclose(found.ys, exact.ys, rtol=1e-15)
    np.testing.assert_array_equal(found.steps, exact.steps)


OPTIONS = {"t0": 0.0, "t1": 1.0, "key": KEY, "rtol": 1e-2, "atol": 1e-2}
SAVES = np.array([0.4, 1.0])


@functools.lru_cache
def many(dt0):
    return run(merton(), StochasticHeun(), paths=1000, dt0=dt0, saveat=SAVES, **OPTIONS)


@pytest.mark.parametrize("dt0", [1 / 8, None])
def test_each_path_is_the_one_that_it_is_alone(dt0):
    @jax.jit
    def alone(path):
        options = {**OPTIONS, "dt0": dt0, "saveat": SAVES}
        return solve_sde(merton(), StochasticHeun(), y0=jnp.ones(1), path=path, **options)

    for path in (0, 999):
        found = alone(path)
        np.testing.assert_allclose(found.ys, many(dt0).ys[path], rtol=1e-14)
        assert int(found.steps) == int(many(dt0).steps[path])


def test_trees_and_marks():
    def mark(key):
        return {"size": jax.random.exponential(key), "side": jax.random.rademacher(key, (2,))}

    def change(t, y, mark, args):
        side = mark["side"].astype(y["a"].dtype)
        return {"a": 0.1 * side * y["a"], "b": args * mark["size"] * jnp.ones_like(y["b"])}

    zero = lambda t, y, args: jax.tree.map(jnp.zeros_like, y)  # noqa: E731
    sde = SDE(zero, zero, jumps=Jumps(change, RATE, mark))
    y0 = {"a": jnp.ones((PATHS, 2)), "b": jnp.zeros(PATHS)}
    options = {"t0": 0.0, "t1": 1.0, "dt0": 0.5, "key": KEY, "ensemble": True}
    found = jax.jit(lambda y0: solve_sde(sde, EM, y0=y0, args=3.0, **options).ys)(y0)
    # A compound Poisson process of exponential jumps, and a martingale.
    b = np.asarray(found["b"])[:, -1]
    assert within(b, 3 * RATE, 9 * 2 * RATE)
    a = np.asarray(found["a"])[:, -1]
    assert within(a[:, 0], 1, np.var(a[:, 0]))


def test_times_may_be_traced_and_numbers_short():
    def draw(saves, dt, y0):
        options = {**OPTIONS, "dt0": dt, "saveat": saves, "ensemble": True}
        return solve_sde(merton(most=17), StochasticHeun(), y0=y0, **options).ys

    exact = many(1 / 8).ys[:20]
    found = jax.jit(draw)(SAVES, 1 / 8, jnp.ones((20, 1)))
    np.testing.assert_allclose(found, exact, rtol=1e-13)
    short = jax.jit(lambda y0: draw(SAVES, 1 / 8, y0))(jnp.ones((20, 1), jnp.float32))
    assert short.dtype == jnp.float32
    np.testing.assert_allclose(short, exact, rtol=2e-4)


# Intensities that depend on the state


def test_death_process_is_binomial():
    sde = still(
        lambda t, y, z, _: -jnp.ones_like(y), rate=lambda t, y, _: 0.7 * (y[0] + 9.0), bound=7.0
    )
    found = run(sde, StochasticHeun(), dt0=None)
    assert np.all(np.asarray(found.code) == 0)
    left = np.asarray(found.ys)[:, -1, 0] + 9
    seen, law = np.bincount(left.astype(int), minlength=11), stats.binom(10, np.exp(-0.7))
    observed = np.array([seen[:3].sum(), *seen[3:8], seen[8:].sum()])
    expected = np.array([law.cdf(2), *law.pmf(np.arange(3, 8)), law.sf(7)]) * PATHS
    assert stats.chisquare(observed, expected).pvalue > 1e-4


def test_intensity_that_changes_in_time():
    found = run(still(rate=lambda t, y, _: 4.0 * t, bound=4.0), saveat=np.array([0.5, 1.0]))
    counts = np.asarray(found.ys)[..., 0] - 1
    assert within(counts[:, 0], 0.5, 0.5)
    assert within(counts[:, 1], 2.0, 2.0)
    assert within((counts[:, 1] - 2) ** 2, 2.0, 2.0 + 2 * 2.0**2)


# Failures


def test_more_jumps_than_there_may_be():
    found = run(still(most=3), paths=100)
    times = drawn()[0][:, :100]
    few = times[2] < 1
    np.testing.assert_array_equal(np.asarray(found.code), np.where(few, STEP_LIMIT, 0))
    assert few.any()
    assert np.all(np.isnan(np.asarray(found.ys)[few]))
    assert np.all(np.asarray(found.t_end)[few] < 1)


def test_a_rate_above_its_bound():
    sde = still(rate=lambda t, y, _: y[0], bound=2.5)
    found = run(sde, StochasticHeun(), dt0=None, paths=200)
    code, last = np.asarray(found.code), np.asarray(found.y_end)[:, 0]
    assert set(code) == {0, STEP_LIMIT}
    assert np.all(last[code == STEP_LIMIT] == 3)


def test_a_jump_that_is_not_finite():
    found = run(still(lambda t, y, z, _: y / 0.0), paths=50)
    hit = drawn()[0][0, :50] < 1
    np.testing.assert_array_equal(np.asarray(found.code), np.where(hit, NON_FINITE, 0))
    assert np.all(np.isfinite(found.y_end))


# Gradients


def loss(a, method, dt0, y0=1.0):
    sde = SDE(
        lambda t, y, a: jnp.sin(a * y), lambda t, y, a: 0.3 * a * jnp.cos(y),
        jumps=Jumps(lambda t, y, z, a: 0.5 * a * z + 0.2 * y, 4.0),
    )  # fmt: skip
    found = solve_sde(
        sde, method, t0=0.0, t1=1.0, y0=y0 * jnp.ones((3, 2)), args=a, dt0=dt0, key=KEY,
        saveat=np.array([0.33, 1.0]), ensemble=True, rtol=1e-2, atol=1e-2,
    )  # fmt: skip
    return jnp.sum(found.ys**2)


def test_gradients():
    f = jax.jit(lambda a, y0: loss(a, StochasticReversibleHeun(), 0.2, y0))
    eps, at = 1e-6, (0.7, 1.0)
    by_a = float(f(0.7 + eps, 1.0) - f(0.7 - eps, 1.0)) / (2 * eps)
    by_y = float(f(0.7, 1.0 + eps) - f(0.7, 1.0 - eps)) / (2 * eps)
    np.testing.assert_allclose(jax.jit(jax.grad(f, argnums=(0, 1)))(*at), (by_a, by_y), rtol=1e-7)


def test_gradients_of_adaptive_steps():
    f = jax.jit(lambda a: loss(a, StochasticHeun(), None))
    exact = float(f(0.7 + 1e-6) - f(0.7 - 1e-6)) / 2e-6
    found = jax.jit(lambda: jax.jvp(f, (0.7,), (1.0,))[1])()
    assert float(found) == pytest.approx(exact, rel=1e-5)


# Other equations


def test_likelihood_of_the_jumps():
    # exp(l) is a density: of mean 1, and the mean number of jumps under it is the other.
    other = 3.0
    sde = with_jump_likelihood(still(), lambda t, y, _: other)

    def draw():
        y0 = (jnp.ones((PATHS, 1)), jnp.zeros(PATHS))
        options = {"t0": 0.0, "t1": 1.0, "dt0": 0.25, "key": KEY, "ensemble": True}
        return solve_sde(sde, EM, y0=y0, **options).ys

    y, x = (np.asarray(x)[:, -1] for x in jax.jit(draw)())
    counts = y[:, 0] - 1
    np.testing.assert_allclose(x, counts * np.log(other / RATE) - (other - RATE), atol=1e-13)
    # E exp(2 l) = exp((other - RATE)^2 / RATE).
    assert within(np.exp(x), 1, np.exp((other - RATE) ** 2 / RATE) - 1)
    weighed = counts * np.exp(x)
    assert within(weighed, other, np.var(weighed))


def test_gradient_in_a_rate_by_the_likelihood():
    # d/dp E N = 1 for a rate p, of paths that do not move with p themselves.
    @jax.jit
    def score(p):
        def one(p):
            sde = with_jump_likelihood(still(rate=RATE), lambda t, y, p: p)
            y0 = (jnp.ones((PATHS, 1)), jnp.zeros(PATHS))
            options = {"t0": 0.0, "t1": 1.0, "dt0": 0.5, "key": KEY, "ensemble": True}
            y, x = solve_sde(sde, EM, y0=y0, args=p, **options).ys
            return x[:, -1], y[:, -1, 0]

        return jax.jvp(one, (p,), (1.0,))

    (x, y), (dx, dy) = score(RATE)
    assert np.all(np.asarray(x) == 0)
    assert np.all(np.asarray(dy) == 0)
    samples = np.asarray(dx) * (np.asarray(y) - 1)
    assert within(samples, 1.0, np.var(samples))


def test_equations_that_carry_more_keep_their_jumps():
    both, likely = (
        with_path_kl(merton(), lambda t, y, _: 0 * y),
        with_jump_likelihood(merton(), 3.0),
    )
    rough = with_fractional_noise(still(), 0.3, horizon=1.0)

    @jax.jit
    def draw():
        def ends(sde, *more):
            y0 = (jnp.ones(1), *more) if more else jnp.ones(1)
            options = {"t0": 0.0, "t1": 1.0, "dt0": 1 / 4, "key": KEY}
            return solve_sde(sde, EM, y0=y0, **options).ys

        zero = jnp.zeros(())
        return ends(merton()), ends(both, zero), ends(likely, zero), ends(rough, jnp.zeros((1, 5)))

    plain, (y, kl), (likely_y, _), (rough_y, memory) = draw()
    np.testing.assert_allclose(y, plain, atol=1e-14)
    np.testing.assert_allclose(likely_y, plain, atol=1e-14)
    assert float(kl[-1]) == pytest.approx((A / B) ** 2 / 2)
    assert float(rough_y[-1, 0] - 1) == np.sum(drawn()[0][:, 0] < 1)
    assert np.any(np.asarray(memory) != 0)


# Mistakes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Jumps(scaled, -1.0), "Jumps.rate: got -1.0; give a number that is not neg"),
        (lambda: Jumps(scaled, len), "Jumps.bound: the rate is a function; give a number"),
        (lambda: Jumps(scaled, len, bound=-2.0), "Jumps.bound: got -2.0"),
        (lambda: run(still(lambda *x: x[2]), n=2), "Jumps.change: got 1 numbers for .* of 2"),
        (
            lambda: jax.jit(lambda r: solve_sde(
                still(rate=r), EM, t0=0.0, t1=1.0, y0=jnp.ones(1), dt0=0.1, key=KEY
            ))(1.0),
            "Jumps.most: rate or times are not known when compiling",
        ),
        (
            lambda: with_jump_likelihood(SDE(scaled, scaled), 1.0),
            "with_jump_likelihood.sde: the equation has no jumps",
        ),
    ],
)  # fmt: skip
def test_mistakes(call, message):
    with pytest.raises(InputError, match=message):
        call()
