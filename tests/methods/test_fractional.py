"""Noise that remembers in latent equations: exact steps, divergences, bounds, answers."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import continua as ct
from continua.core.errors import InputError
from continua.core.precision import precision
from continua.core.solution import Solution
from continua.integrate.stochastic.fractional import KINDS, MarkovFBM
from continua.methods.dynamics.fractional import FractionalSDE
from continua.methods.dynamics.latent import latent_steps
from continua.methods.dynamics.latent_model import LatentModel
from continua.methods.dynamics.latent_window import Pace, Window
from continua.methods.dynamics.memory import Steer, fractional, walk, white
from continua.problems import Series, SeriesProblem
from tests.methods.bounds import bounds

KEY = jax.random.key(0)
ROW = 1 / 8
NOISE = MarkovFBM(4, 16.0, 1.0, slowest=0.3)


def still(memory, steps, *, push=None, key=KEY):
    """`dx = dB` from 0: states, memories and divergence."""

    def law(i, _, z, y):
        steer = None if push is None else memory.pushed(push)
        return jnp.zeros_like(z), jnp.ones_like(z), steer

    size = 1 if push is None else push.shape[0]
    first, rest = jax.random.split(key)
    past = memory.begin(size, key=first)
    return walk(memory, jnp.zeros(size), past, law, jnp.zeros((steps, 0)), key=rest)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_the_polynomial_are_those_of_the_formula(kind):
    noise = MarkovFBM(kind=kind)
    for hurst in (0.02, 0.3, 0.5, 0.98):
        exact = np.asarray(noise.weights(hurst))
        np.testing.assert_allclose(fractional(noise, hurst, step=0.1).weights, exact, atol=1e-10)
        with precision("float32"):
            low = fractional(noise, hurst, step=0.1).weights
            assert low.dtype == jnp.float32
            np.testing.assert_allclose(low, exact, atol=3e-6 * np.abs(exact).max())
    # Time is measured in units of `unit`: B(unit) is as large as that of white noise.
    memory = fractional(noise, 0.3, step=0.1, unit=0.25)
    np.testing.assert_allclose(memory.weights, noise.weights(0.3) * 0.25**0.2, atol=1e-10)


def test_two_steps_are_one_of_twice_the_length():
    short, long = (fractional(NOISE, 0.3, step=h) for h in (0.1, 0.2))
    q = np.asarray(short.step_covariance(float))
    kept = np.exp(-0.1 * np.asarray(short.rates))
    twice = kept[:, None] * q * kept + q
    np.testing.assert_allclose(long.step_covariance(float), twice, rtol=1e-12)
    # What is aimed at later has the variance of the steps until then.
    w = np.asarray(short.weights)
    whole = short.aim(0.2) @ q @ short.aim(0.2) + w @ q @ w
    np.testing.assert_allclose(short.variance(0.2), whole, rtol=1e-12)
    y = jnp.array([[0.3, -0.2, 0.5, 0.1]])
    np.testing.assert_allclose(
        short.expected(y, 0.2), short.expected(y, 0.1) + short.expected(y * kept, 0.1), rtol=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
def test_law_of_paths(kind):
    """In steps far longer than the fastest memory lasts."""
    noise = dataclasses.replace(NOISE, kind=kind)
    memory = fractional(noise, 0.3, step=0.25)
    run = jax.jit(jax.vmap(lambda key: still(memory, 4, key=key)[0][:, 0]))
    states = np.asarray(run(jax.random.split(KEY, 20_000)))
    exact = np.asarray(noise.variance(0.3, 0.25 * np.arange(1, 5)))
    np.testing.assert_allclose(states[:, 1:].var(axis=0), exact, rtol=4 * np.sqrt(2 / 20_000))


def test_without_a_push_the_posterior_is_the_prior():
    memory = fractional(NOISE, 0.3, step=0.1)
    free = still(memory, 10)
    steered = still(memory, 10, push=jnp.zeros(1))
    for a, b in zip(free[:2], steered[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(steered[2]) == 0.0


def test_a_constant_push_costs_its_square_and_moves_every_memory():
    memory, push = fractional(NOISE, 0.7, step=0.1), jnp.array([0.5, -1.0])
    zero, moved = still(memory, 20, push=0 * push), still(memory, 20, push=push)
    np.testing.assert_allclose(moved[2], float(push @ push) / 2 * 2.0, rtol=1e-13)
    rates = np.asarray(memory.rates)
    drift = np.asarray(push)[:, None] * -np.expm1(-2.0 * rates) / rates
    np.testing.assert_allclose(moved[1][-1] - zero[1][-1], drift, atol=1e-12)


def test_a_step_costs_the_divergence_of_its_normal_laws():
    memory = fractional(MarkovFBM(2, 4.0, 1.0), 0.3, step=0.5)
    q, aim = np.asarray(memory.step_covariance(float)), np.array([0.7, -0.4])
    c, v, u = 0.8, 0.3, 0.6
    along, size = q @ aim, aim @ q @ aim

    def cost(push):
        steer = Steer(jnp.array([push]), jnp.asarray(aim), jnp.array([c]), jnp.array([v]))
        law = lambda i, _, z, y: (0 * z, 0 * z + 1, steer)  # noqa: E731
        start = jnp.zeros((1, 2))
        return float(walk(memory, jnp.zeros(1), start, law, jnp.zeros((1, 0)), key=KEY)[2])

    def divergence(push):
        rates = np.asarray(memory.rates)
        mean = c * along + push * -np.expm1(-rates / 2) / rates
        cover = q - (1 - v) * np.outer(along, along) / size
        inverse = np.linalg.inv(q)
        terms = np.trace(inverse @ cover) - 2 + mean @ inverse @ mean
        return (terms - np.log(np.linalg.det(cover) / np.linalg.det(q))) / 2

    assert cost(0.0) == pytest.approx(divergence(0.0), rel=1e-10)
    # The path of W tells more than the memories at the end of the step.
    assert divergence(u) < cost(u) < divergence(u) + 1e-2


@pytest.mark.parametrize("v", [1.0, 0.8])
def test_ratios_at_the_draw_have_the_divergence_as_their_mean_and_are_normalised(v):
    memory, count = fractional(NOISE, 0.3, step=0.1), 40_000
    aim = memory.aim(0.2)
    pull = jnp.array([0.6, -0.4])

    def law(i, _, z, y):
        push = 0.5 * jnp.cos(z) - 0.3 * memory.scaled(y)[:2]
        return -z, jnp.ones_like(z), Steer(push, aim, pull, jnp.full(2, v))

    def cost(key, at_draw):
        inputs, start = jnp.zeros((5, 0)), jnp.zeros((2, 4))
        return walk(memory, jnp.zeros(2), start, law, inputs, key=key, at_draw=at_draw)

    keys = jax.random.split(KEY, count)
    runs = [jax.jit(jax.vmap(lambda k, a=a: cost(k, a)))(keys) for a in (False, True)]
    np.testing.assert_array_equal(runs[0][0], runs[1][0])  # the same paths
    mean, ratio = (np.asarray(run[2]) for run in runs)
    error = (ratio - mean).std() / np.sqrt(count)
    assert 0 < error < 0.01
    assert abs(np.mean(ratio - mean)) < 4 * error
    shares = np.exp(-ratio)
    error = shares.std() / np.sqrt(count)
    assert error < 0.02
    assert abs(shares.mean() - 1) < 4 * error


def linear_model(memory, *, noise=0.1, damping=0.0) -> LatentModel:
    """`dz = -damping z dt + dB`, `z(0)` near 0, `x = z + noise`, rows `ROW` apart."""
    step = ROW if memory is None else memory.step
    model = LatentModel(
        1, 1, 0, width=4, depth=1, context=4, noisy=True, time_dependent=False,
        pace=Pace(step, ROW, 1.0, 1.0), memory=memory, key=KEY,
    )  # fmt: skip

    def raw(x):
        return jnp.log(jnp.expm1(x - 1e-3))

    def plain(m):
        last, start = m.diffusion.mlp.layers[-1], m.start
        return (
            m.linear.weight, m.scale, last.weight, last.bias, m.decoder.weight, m.decoder.bias,
            m.raw_noise, m.raw_prior, start.weight, start.bias,
        )  # fmt: skip

    values = (
        jnp.full((1, 1), -damping), jnp.zeros(1), jnp.zeros((1, 4)), jnp.full(1, raw(1.0)),
        jnp.ones((1, 1)), jnp.zeros(1), jnp.full(1, raw(noise)), jnp.full(1, -20.0),
        jnp.zeros((2, 4)), jnp.array([0.0, -20.0]),
    )  # fmt: skip
    return eqx.tree_at(plain, model, values)


def window(values, substeps=1) -> Window:
    """Rows from 0 on; NaN is a gap."""
    count = len(values)
    there, nodes = np.isfinite(values), (count - 1) * substeps
    node = np.minimum(np.arange(count) * substeps, nodes - 1)
    rows = np.flatnonzero(there)
    behind = np.searchsorted(rows, np.arange(nodes) / substeps + 1e-6)
    return Window(
        times=ROW * jnp.arange(float(count)),
        values=jnp.asarray(np.nan_to_num(values))[:, None],
        mask=jnp.asarray(there.astype(float))[:, None],
        acting=jnp.zeros((nodes + 1, 0)),
        node=jnp.asarray(node),
        share=jnp.asarray(np.arange(count) * substeps - node, float),
        following=jnp.asarray(np.append(rows, count)[behind]),
    )


def covariance(memory, steps):
    """Of `B` behind each step, by the memories."""
    q, w = np.asarray(memory.step_covariance(float)), np.asarray(memory.weights)
    kept = np.exp(-memory.step * np.asarray(memory.rates))
    law, table = np.zeros_like(q), np.zeros((steps, steps))
    for i in range(steps):
        law = kept[:, None] * law * kept + q
        for j in range(i, steps):
            table[i, j] = table[j, i] = w @ (law * kept ** (j - i)) @ w
    return table


def test_with_white_noise_it_is_the_latent_equation():
    values = np.array([0.0, 0.3, np.nan, -0.2, 0.1])
    plain, same = linear_model(None, damping=1.0), linear_model(white(ROW), damping=1.0)
    run = eqx.filter_jit(lambda m, key: m.elbo(window(values), 1.0, key=key)[0])
    for seed in range(2):
        found = [run(m, jax.random.key(seed)) for m in (plain, same)]
        np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_more_draws_bring_the_bound_to_the_likelihood():
    memory = fractional(NOISE, 0.3, step=ROW, unit=ROW)
    table: Any = covariance(memory, 8) + 0.01 * np.eye(8)
    values = np.linalg.cholesky(table) @ np.random.default_rng(0).standard_normal(8)
    model, seen = linear_model(memory), window(np.append(np.nan, values))
    likelihood = multivariate_normal(np.zeros(8), table).logpdf(values)
    gaps = []
    for draws in (1, 64):
        mean, error = bounds(model, seen, draws=draws, seed=0)
        gaps.append(likelihood - mean)
        assert gaps[-1] > -4 * error
    assert gaps[1] < 0.3 * gaps[0]
    assert gaps[1] < 0.05


@pytest.mark.parametrize("hurst", [0.2, 0.8])
def test_the_bound_of_one_row_is_its_likelihood(hurst):
    """All that is to be known of the way to it is then in the guide."""
    memory = fractional(NOISE, hurst, step=ROW, unit=ROW)
    values = np.full(9, np.nan)
    values[-1] = 0.7
    mean, error = bounds(linear_model(memory), window(values))
    spread = covariance(memory, 8)[-1, -1] + 0.01
    exact = -(0.7**2) / (2 * spread) - 0.5 * np.log(2 * np.pi * spread)
    assert error < 0.03
    assert abs(mean - exact) < 4 * error


@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_the_bound_lies_below_the_likelihood_and_near_it(hurst):
    memory = fractional(NOISE, hurst, step=ROW / 2, unit=ROW)
    table: Any = covariance(memory, 16)[1::2, 1::2] + 0.01 * np.eye(8)
    values = np.linalg.cholesky(table) @ np.random.default_rng(0).standard_normal(8)
    seen = window(np.append(np.nan, values), substeps=2)
    mean, error = bounds(linear_model(memory), seen)
    exact = multivariate_normal(np.zeros(8), table).logpdf(values)
    assert mean < exact + 3 * error
    assert mean > exact - 0.1 * 8


def test_the_bound_has_the_gradient_in_the_index_that_differences_find():
    model = linear_model(fractional(NOISE, None, step=ROW, unit=ROW))
    seen = window(np.array([np.nan, 0.3, -0.2, 0.4]))

    @jax.jit
    def at(raw):
        moved = eqx.tree_at(lambda m: m.memory.raw.value, model, raw)
        return moved.elbo(seen, 1.0, key=KEY)[0]

    slope, step = jax.grad(at)(jnp.array(-0.5)), 1e-5
    about = (at(jnp.array(-0.5 + step)) - at(jnp.array(-0.5 - step))) / (2 * step)
    assert abs(float(slope)) > 1e-2
    np.testing.assert_allclose(slope, about, rtol=1e-6)


def series_problem(count=16, rows=10, **fields) -> SeriesProblem:
    draw, t = np.random.default_rng(0), np.arange(float(rows))
    series = [
        Series(str(i), t, np.cumsum(draw.standard_normal((rows, 1)), axis=0)) for i in range(count)
    ]
    return SeriesProblem(
        name="walks", title="Walks", variables=("x",), time="t", series=tuple(series), **fields
    )


SMALL = FractionalSDE(
    states=1, width=8, depth=1, context=8, substeps=1, draws=20, batch_size=8, memories=3,
    training=latent_steps(40, 2e-2),
)  # fmt: skip


def test_new_series_and_the_index_are_kept(tmp_path):
    problem = series_problem(task="generate", tested=(14, 15))
    solution = ct.solve(problem, SMALL, key=KEY)
    assert solution.result.ok
    learned = solution.parameters["hurst"].value
    assert 0 < learned < 1
    assert learned != 0.5
    solution.save(tmp_path)
    again = Solution.load(tmp_path)
    t = np.arange(10.0)
    np.testing.assert_array_equal(again(3.0, t), solution(3.0, t))
    assert again.parameters["hurst"].value == learned


def test_a_given_index_is_kept_and_forecasts_go_on_from_the_memories():
    """Nothing needs to be learned for the guide to meet the rows."""
    problem = series_problem(1, 30, split=23.0)
    method = dataclasses.replace(SMALL, hurst=0.8, window=12, fractional_kind="I")
    model = method.init(problem, key=KEY)
    assert model.memory is not None
    assert float(model.memory.hurst) == pytest.approx(0.8, rel=1e-12)
    solution = method.finish(model, problem)
    assert not solution.parameters
    values, (wide,) = solution(np.arange(30.0)), solution.deviation(np.arange(30.0))
    # The first row is not met, since the network that tells the start has learned nothing.
    assert np.abs(values[1:24] - problem.series[0].y[1:24, 0]).max() < 0.5
    assert wide[28] > wide[25] > 2 * wide[1:23].mean()


def test_an_index_that_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"hurst: got 1.5; give a number between 0 and 1"):
        ct.solve(series_problem(), dataclasses.replace(SMALL, hurst=1.5))
