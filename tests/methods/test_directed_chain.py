"""Directed chains: exact variances, signatures, independence, and what new series are."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ive

import continua as ct
from continua.compare import score
from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.integrate import signature
from continua.methods.dynamics.directed_chain import (
    DirectedChain,
    DirectedChainSDE,
    chain_generate,
    chain_steps,
    directed_chain_nets,
    table_of,
)
from continua.methods.dynamics.signature_law import (
    law_of,
    neighbour_correlation,
    signature_loss,
    signed,
)
from continua.metrics import signatures
from continua.problems import Series, SeriesProblem

KEY = jax.random.key(0)
SMALL: dict[str, Any] = {"width": 8, "depth": 1, "batch_size": 32, "signature_depth": 3}


def variance(t: float, steps: int) -> float:
    """Of the linear chain `dX = (X' - X) dt + dB` from the path 0 on, after some steps."""

    def rate(s):
        return math.exp(-2 * s) * sum((s**k / math.factorial(k)) ** 2 for k in range(steps))

    return quad(rate, 0, t, epsabs=1e-12)[0]


def euler_variance(t: float, rows: int, steps: int) -> float:
    """The same of steps of Euler: `e_j` enters the `k`-th link `C(m, k) h^k (1 - h)^(m - k)`
    times, `m` steps later."""
    h = t / rows
    table = [
        [math.comb(m, k) * h**k * (1 - h) ** (m - k) if m >= k else 0.0 for k in range(steps)]
        for m in range(rows)
    ]
    return h * float(np.sum(np.square(table)))


def test_variances_of_the_linear_chain():
    known = {1: 0.49084, 2: 0.68132, 3: 0.75091, 5: 0.77112, 8: 0.771505}
    for steps, value in known.items():
        assert variance(2.0, steps) == pytest.approx(value, abs=6e-6)
    limit = 2.0 * (ive(0, 4.0) + ive(1, 4.0))  # t e^{-2t} (I_0(2t) + I_1(2t))
    assert variance(2.0, 12) == pytest.approx(limit, abs=1e-10)
    # The steps come to it with the first power of their length.
    gaps = [euler_variance(2.0, n, 3) - variance(2.0, 3) for n in (200, 400)]
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.02)

    rows, count, links = 100, 20_000, 3
    model = DirectedChainSDE(lambda z: z[2:] - z[:1], lambda z: jnp.ones_like(z[:1]), 1)
    ts = jnp.linspace(0, 2, rows + 1, dtype=jnp.float32)
    zero = jnp.zeros((rows + 1, 1), jnp.float32)

    @jax.jit
    def squares(key):
        keys = jax.random.split(key, count)
        ends = jax.vmap(lambda k: chain_generate(model, ts, zero[:links], zero, key=k)[:, -1])
        return jnp.mean(ends(keys)[..., 0] ** 2, axis=0)

    found = np.mean([squares(jax.random.fold_in(KEY, i)) for i in range(10)], axis=0)
    for steps in range(1, links + 1):
        assert found[steps - 1] == pytest.approx(euler_variance(2.0, rows, steps), rel=0.01)


def test_signatures_of_lines_and_of_paths_that_are_joined():
    line = jnp.linspace(0, 1, 9)[:, None] * jnp.array([0.4, -1.1, 0.7])
    v, at = np.asarray(line[-1]), 0
    found, power = np.asarray(signature(line, 5)), np.ones(1)
    for k in range(1, 6):
        power = np.kron(power, v)
        np.testing.assert_allclose(
            found[at : at + 3**k], power / math.factorial(k), rtol=0, atol=1e-12
        )
        at += 3**k
    assert at == found.size
    path = jnp.cumsum(jax.random.normal(KEY, (12, 2)), axis=0)
    parts = []
    for piece in (path[:6], path[5:], path):
        levels = np.split(np.asarray(signature(piece, 3)), [2, 6])
        parts.append([np.ones(()), *(x.reshape((2,) * k) for k, x in enumerate(levels, 1))])
    first, second, whole = parts
    for k in range(1, 4):  # Chen
        product = sum(np.tensordot(first[j], second[k - j], axes=0) for j in range(k + 1))
        np.testing.assert_allclose(whole[k], product, atol=1e-12 * np.abs(product).max())
    step = whole[1]
    np.testing.assert_allclose(
        (whole[2] + whole[2].T) / 2, np.outer(step, step) / 2, atol=1e-12 * (step**2).max()
    )


def test_the_signature_loss():
    a, b = (jax.random.normal(k, (40, 7, 2)) for k in jax.random.split(KEY))
    ts = jnp.linspace(0, 1, 7)
    np.testing.assert_allclose(signed(ts, a, 4), signatures(np.asarray(a), 4), atol=1e-12)
    assert signature_loss(a, a, 4) == 0
    assert np.all(np.isfinite(jax.grad(signature_loss)(a, a, 4)))
    order = jax.random.permutation(KEY, 40)
    loss = float(signature_loss(a, b, 4))
    assert float(signature_loss(a[order], b, 4)) == pytest.approx(loss, rel=1e-12)
    difference = signatures(np.asarray(a), 4).mean(0) - signatures(np.asarray(b), 4).mean(0)
    assert loss == pytest.approx(np.linalg.norm(difference), rel=1e-12)


def test_whitened_words_are_uncorrelated_and_the_law_is_at_no_distance_of_itself():
    paths = jax.random.normal(KEY, (4000, 4, 1))
    law = law_of(np.linspace(0, 1, 4), np.asarray(paths), 3, True)
    assert law.mean is not None
    assert law.matrix is not None
    words = signed(law.ts, paths, 3)
    moved = np.asarray((words - law.mean) @ law.matrix) * np.sqrt(words.shape[1])
    covariance = moved.T @ moved / len(moved)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-8)
    # Words that others tell (products of shorter ones) have nothing of their own.
    spread = np.diag(covariance)
    assert np.all(spread < 1.0)
    assert np.sum(spread > 0.9) >= 6
    assert law.distance(paths, paths) < 1e-10
    assert law.distance(paths + 0.5, paths) > 0.1
    published = law_of(np.linspace(0, 1, 4), np.asarray(paths), 3, False)
    expected = float(signature_loss(paths[:50], paths[50:100], 3))
    found = float(published.distance(paths[:50], paths[50:100]))
    assert found == pytest.approx(expected, rel=1e-12)


def test_fields_that_ignore_the_neighbour_make_independent_paths():
    ts, count = jnp.linspace(0, 1, 11), 4000
    model = directed_chain_nets(2, noise_size=3, width=8, depth=1, coupled=False, key=KEY)
    real = jnp.cumsum(jax.random.normal(KEY, (count, 11, 2)), axis=1)
    starts = jax.random.normal(jax.random.key(1), (count, 1, 2))
    keys = jax.random.split(jax.random.key(2), count)
    run = jax.vmap(lambda x, n, k: chain_generate(model, ts, x, n, key=k)[-1])
    new = run(starts, real, keys)
    found = np.asarray(neighbour_correlation(new, real))
    assert np.abs(found).max() < 5 / np.sqrt(count)  # of 484
    assert np.abs(np.diag(found)).mean() < 3 / np.sqrt(count)
    np.testing.assert_array_equal(new, run(starts, real[::-1], keys))
    np.testing.assert_allclose(np.diag(neighbour_correlation(real, real)), 1.0, rtol=1e-9)


def walks(count=64, rows=9, *, uneven=False, **fields) -> SeriesProblem:
    rng, series = np.random.default_rng(0), []
    for i in range(count):
        t = np.linspace(2, 3, rows)
        t[1:-1] += uneven * rng.uniform(-0.03, 0.03, rows - 2)
        y = np.cumsum(0.4 + 0.6 * rng.standard_normal((rows, 1)), axis=0)
        if i % 3 == 0:
            y[4] = np.nan
        series.append(Series(str(i), t, y))
    fields = {"task": "generate", "tested": tuple(range(count - 4, count)), **fields}
    return SeriesProblem(
        name="walks", title="Walks", variables=("x",), time="t", series=tuple(series), **fields
    )


def test_series_as_paths_at_common_rows():
    problem = walks(uneven=True)
    table = table_of(problem, None)
    assert table.paths.shape == (60, 9, 1)
    assert table.ts[0] == 0
    assert table.ts[-1] == pytest.approx(1, abs=1e-12)
    # At its own rows the longest series, here the first, is as it was, but for its gap.
    kept = np.arange(9) != 4
    found = table.scaling.decode(table.paths[0])
    np.testing.assert_allclose(found[kept], problem.series[0].y[kept], atol=1e-12)
    middle = np.interp(table.times[4], table.times[[3, 5]], found[[3, 5], 0])
    assert found[4, 0] == pytest.approx(middle, abs=1e-12)


@pytest.mark.parametrize("chain", [1, 3])
def test_new_series_do_not_depend_on_company(chain, tmp_path):
    problem = walks()
    method = DirectedChain(
        **SMALL, chain=chain, penalty=0.1, generations=2, training=chain_steps(150, 1e-2)
    )
    solution = ct.solve(problem, method, key=KEY)
    assert solution.result.ok
    paths: Any = solution.evaluator
    # At the start of training paths stay where they begin, 3.2 below the mean of the ends.
    ends = np.stack([s.y[-1] for s in problem.training()])
    made = paths.sample(range(200))[:, -1]
    assert abs(made.mean() - ends.mean()) < 0.8
    assert 0.5 < made.std() / ends.std() < 2
    new = paths.sample([0, 3, 7])
    with stopwatch() as clock:
        paths.sample([1, 2, 4])
    assert clock.compile == 0  # as many more
    np.testing.assert_allclose(paths.sample([7])[0], new[2], atol=1e-5)
    longer = paths.chains([7], 4)
    np.testing.assert_allclose(longer[0, 2], new[2], atol=1e-5)
    table = table_of(problem, None)
    heads = table.scaling.decode(table.paths)
    assert np.abs(heads - longer[0, 0]).max(axis=(1, 2)).min() < 1e-6
    np.testing.assert_allclose(paths.chains([7], 2, longer[:, 0])[0, 2], new[2], atol=1e-5)
    t = np.linspace(2, 3, 9)
    np.testing.assert_allclose(solution(np.full(9, 3.0), t), new[1, :, 0], atol=1e-5)
    assert np.isnan(solution(3.0, 3.2))
    assert 0 < score(solution, problem)["signature_distance"] < np.inf
    solution.save(tmp_path)
    np.testing.assert_array_equal(Solution.load(tmp_path)(3.0, t), solution(3.0, t))


def test_without_a_neighbour_heads_are_forgotten():
    problem = walks()
    method = DirectedChain(**SMALL, coupled=False, whiten=False, training=chain_steps(20))
    paths: Any = ct.solve(problem, method, key=KEY).evaluator
    found = [paths.chains([0, 1], 1, np.full((2, 9, 1), x))[:, 1] for x in (1.0, 4.0)]
    np.testing.assert_array_equal(*found)


def test_depths_of_signatures():
    method = DirectedChain()
    assert [method._words(c) for c in (1, 4, 5, 9, 31, 2000)] == [4, 4, 3, 2, 1, 1]
    assert DirectedChain(signature_depth=6)._words(1) == 6
    with pytest.raises(InputError, match="9 channels to depth 5 have 111110 words, at most 20000"):
        DirectedChain(signature_depth=5)._words(9)


def test_what_cannot_be_learned_is_said():
    with pytest.raises(InputError, match=r"DirectedChain.chain: got 0; give 1 or more"):
        DirectedChain(chain=0)
    with pytest.raises(InputError, match=r"DirectedChain.penalty: got -1"):
        DirectedChain(penalty=-1.0)
    with pytest.raises(InputError, match="one series, and a law is learned from many"):
        ct.solve(walks(2, tested=(1,)), DirectedChain())
    problem = walks(5, tested=())
    short = Series("short", np.array([0.0]), np.ones((1, 1)))
    series = (*problem.series, short)
    with pytest.raises(InputError, match="series 'short': one row"):
        table_of(walks_of(series), None)
    empty = Series("empty", np.arange(2.0), np.full((2, 1), np.nan))
    with pytest.raises(InputError, match="series 'empty': 'x' holds no number"):
        table_of(walks_of((*problem.series, empty)), None)
    brief = Series("brief", np.array([0.0, 0.01]), np.ones((2, 1)))
    with pytest.raises(InputError, match=r"end 0.01 after.*leave short series out"):
        table_of(walks_of((*problem.series, brief)), None)
    forecast = walks(5, tested=(), task="forecast")
    assert DirectedChain().supports(forecast).reason == "DirectedChain does not forecast series"


def test_uneven_series_are_scored_up_to_what_all_reach():
    rng = np.random.default_rng(0)
    series = []
    for i in range(6):
        t = i % 2 * 0.05 + np.arange(8) + 0.1 * rng.random(8)
        series.append(Series(str(i), t, rng.standard_normal((8, 1))))
    problem = dataclasses.replace(walks_of(tuple(series)), tested=(4, 5))
    method = DirectedChain(width=4, batch_size=4, training=chain_steps(2))
    errors = score(ct.solve(problem, method, key=KEY), problem)
    assert np.isfinite(errors["signature_distance"])


def walks_of(series: tuple[Series, ...]) -> SeriesProblem:
    return SeriesProblem(
        name="walks", title="", variables=("x",), time="t", series=series, task="generate"
    )
