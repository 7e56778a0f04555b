"""Generalised teacher forcing: exact properties of the forcing, and maps that learn by it."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import continua as ct
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.dynamics.even import delayed, even_series
from continua.methods.dynamics.forcing import AdaptiveForcing, forced_rollout
from continua.methods.dynamics.teacher_forcing import TeacherForcing, forced_steps
from continua.nets import ShallowPLRNN, trainable
from continua.problems import Series, SeriesProblem

QUICK = forced_steps(20)
VARIANTS = {
    "plrnn": TeacherForcing(members=2, training=QUICK, forcing=0.1),
    "adaptive": TeacherForcing(members=2, training=QUICK),
    "ode": TeacherForcing(cell="ode", members=2, substeps=2, hidden=8, training=QUICK),
    "delays": TeacherForcing(dimension=3, delay=4, members=1, training=QUICK),
    "hidden states": TeacherForcing(size=5, members=2, training=QUICK),
    "affine": TeacherForcing(size=4, observation="affine", members=2, training=QUICK),
}


def problem_of(*tables, step=0.1, split=None, variables=("x", "y"), keep=None) -> SeriesProblem:
    series = []
    for i, y in enumerate(tables):
        rows = np.arange(len(y)) if keep is None else keep
        series.append(Series(str(i), step * rows, y[rows]))
    return SeriesProblem(
        name="rows",
        title="Rows",
        variables=variables,
        time="t",
        series=tuple(series),
        split=step * (len(tables[0]) * 3 // 4) if split is None else split,
    )


def henon(rows: int, seed: int = 0) -> np.ndarray:
    """Hénon's map of 1976, on its attractor."""
    rng = np.random.default_rng(seed)
    x, y, found = *rng.uniform(-0.1, 0.1, 2), []
    for _ in range(rows + 100):
        x, y = 1 - 1.4 * x**2 + y, 0.3 * x
        found.append((x, y))
    return np.array(found[100:])


def wave(rows: int = 200) -> np.ndarray:
    t = 0.1 * np.arange(rows)
    return np.stack([np.sin(t), 3 * np.cos(t)], axis=-1)


def cell_of(scale: float = 1.0, *, size: int = 3, seed: int = 0) -> ShallowPLRNN:
    cell = ShallowPLRNN(size, 20, key=jax.random.key(seed))
    return eqx.tree_at(lambda c: (c.w1, c.h2), cell, (scale * cell.w1, 3 * cell.h2))


def signals_of(rows: int, *, size: int = 3, seed: int = 1):
    return jax.random.normal(jax.random.key(seed), (rows, size))


def test_no_forcing_is_the_free_run_bit_for_bit_and_plain_backpropagation():
    cell, signals = cell_of(4.0), signals_of(60)

    def free(start):
        return jax.lax.scan(lambda z, _: (cell(z),) * 2, start, None, length=59)[1]

    start = signals[0]
    before, after = forced_rollout(cell, start, signals, 0.0)
    np.testing.assert_array_equal(before[1:], free(start))
    np.testing.assert_array_equal(before, after)

    def loss(start, run):
        return jnp.sum((run(start) - signals[1:]) ** 2)

    forced = jax.grad(loss)(start, lambda s: forced_rollout(cell, s, signals, 0.0)[0][1:])
    np.testing.assert_allclose(forced, jax.grad(loss)(start, free), rtol=1e-12)


def test_full_forcing_forgets_what_is_more_than_a_step_ago():
    cell, signals = cell_of(4.0), signals_of(10)

    def states(start):
        return forced_rollout(cell, start, signals, 1.0)[0]

    by_start = jax.jacobian(states)(signals[0])
    np.testing.assert_array_equal(by_start[2:], 0.0)
    np.testing.assert_allclose(by_start[1], cell.jacobian(signals[0]), rtol=1e-14)
    np.testing.assert_allclose(states(signals[0])[1:], jax.vmap(cell)(signals[:-1]), rtol=1e-14)


def test_no_product_of_jacobians_grows_where_the_forcing_is_that_of_the_largest():
    cell, signals = cell_of(30.0), signals_of(200)
    jacobians = jax.vmap(cell.jacobian)(signals)
    largest = jnp.linalg.norm(jacobians, ord=2, axis=(1, 2)).max()
    assert largest > 10
    # A bound from the parameters holds wherever the forced orbit goes.
    alpha = AdaptiveForcing("parameters").needed(cell, signals[None])

    def states(start, alpha):
        return forced_rollout(cell, start, signals, alpha)[1]

    products = jax.jacfwd(states)(signals[0], alpha)
    assert float(jnp.linalg.norm(products, ord=2, axis=(1, 2)).max()) <= 1 + 1e-12
    free = jax.jacfwd(states)(signals[0], 0.0)
    assert float(jnp.linalg.norm(free, ord=2, axis=(1, 2)).max()) > 10
    # Random Jacobians, and the largest of their norms.
    random = 3 * signals_of(600).reshape(200, 3, 3)
    norms = np.linalg.norm(random, ord=2, axis=(1, 2))
    product = np.eye(3)
    for jacobian in np.asarray(random):
        product = jacobian @ product / norms.max()
        assert np.linalg.norm(product, ord=2) <= 1 + 1e-12


def test_only_the_first_states_are_forced_and_only_where_there_are_signals():
    cell, signals = cell_of(size=4), signals_of(6, size=2)
    start = jnp.array([0.1, 0.2, 0.3, 0.4])
    there = jnp.ones((6, 2), bool).at[3, 0].set(False)
    before, after = forced_rollout(cell, start, signals, 0.7, there)
    expected = 0.3 * before[1:, :2] + 0.7 * signals[1:]
    expected = expected.at[2, 0].set(before[3, 0])
    np.testing.assert_allclose(after[1:, :2], expected, rtol=1e-14)
    np.testing.assert_array_equal(after[:, 2:], before[:, 2:])
    np.testing.assert_allclose(before[1:], jax.vmap(cell)(after[:-1]), rtol=1e-13)


class Linear(eqx.Module):
    matrix: jax.Array

    def __call__(self, z):
        return self.matrix @ z


def test_estimates_agree_on_a_linear_map_and_are_ordered_on_others():
    matrix = jnp.array([[0.3, 4.0], [0.0, 1.2]])
    norm = np.linalg.norm(matrix, ord=2)
    states = signals_of(30, size=2).reshape(3, 10, 2)
    for estimate in ("product", "maximum", "mean"):
        found = AdaptiveForcing(estimate).needed(Linear(matrix), states)
        np.testing.assert_allclose(found, 1 - 1 / norm, rtol=1e-12)
    assert AdaptiveForcing().needed(Linear(0.1 * matrix), states) == 0.0
    cell, states = cell_of(30.0), signals_of(300).reshape(3, 100, 3)
    names = ("mean", "product", "maximum", "parameters")
    mean, product, maximum, bound = (AdaptiveForcing(n).needed(cell, states) for n in names)
    assert mean < maximum < bound
    assert product < maximum


def test_the_forcing_goes_up_at_once_and_down_slowly():
    forcing = AdaptiveForcing(decay=0.9)
    np.testing.assert_allclose(forcing.updated(jnp.array(0.2), jnp.array(0.6)), 0.6)
    np.testing.assert_allclose(forcing.updated(jnp.array(0.6), jnp.array(0.1)), 0.55)


def test_embedded_rows_are_those_before():
    x = np.arange(10.0)[:, None] * np.array([1.0, 100.0])
    found = delayed(x, 3, 2)
    assert found.shape == (6, 6)
    np.testing.assert_array_equal(found[0], [4, 400, 2, 200, 0, 0])
    np.testing.assert_array_equal(found[-1], [9, 900, 7, 700, 5, 500])
    np.testing.assert_array_equal(delayed(jnp.asarray(x), 3, 2), found)


def test_missing_rows_are_gaps():
    keep = np.delete(np.arange(150), [7, 8, 60])
    ((t, y),) = even_series(problem_of(wave(), keep=keep))
    np.testing.assert_allclose(t, 0.1 * np.arange(150), atol=1e-12)
    assert list(np.flatnonzero(np.isnan(y).any(axis=1))) == [7, 8, 60]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_tells_and_is_read_back(name, tmp_path):
    y = wave()
    y[40:43] = np.nan
    problem, method = problem_of(y, y[:120]), VARIANTS[name]
    assert method.supports(problem).ok
    solution = method.finish(method.init(problem, key=jax.random.key(0)), problem)
    assert solution.coordinates == ("series", "t")
    first, t = np.zeros(3), np.array([1.0, 16.0, 22.0])
    assert np.isfinite(solution.values(first, t)).all()
    assert np.all(solution.deviation(first, t) > 0)
    assert np.isnan(solution.values(np.array([0.0]), np.array([99.0]))).all()
    assert 0 <= solution.stats["alpha"] <= 1
    solution.save(tmp_path)
    again = Solution.load(tmp_path)
    np.testing.assert_array_equal(again.values(first, t), solution.values(first, t))
    start = np.concatenate([y[50:70]])
    np.testing.assert_array_equal(
        again.evaluator.simulate(start, 5), solution.evaluator.simulate(start, 5)
    )


@pytest.mark.parametrize("name", ["plrnn", "affine", "ode"])
def test_what_stands_in_gaps_does_not_matter(name):
    y = wave()
    y[::7] = np.nan
    method, problem = VARIANTS[name], problem_of(y)
    key = jax.random.key(1)
    model, sampler = method.init(problem, key=key), method.batches(problem)
    batch = sampler.sample(3, model, key=key)
    there = batch["there"].at[:, 0].set(True)  # the first row starts the window
    other = {**batch, "values": jnp.where(there, batch["values"], 1e3)}
    params, rest = eqx.partition(model, trainable(model))
    value = eqx.filter_jit(
        jax.value_and_grad(lambda p, b: method.loss(eqx.combine(p, rest), b, key=key)[0])
    )
    found, changed = value(params, batch), value(params, other)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, changed)
    assert not np.asarray(batch["there"]).all()


def test_the_loss_is_of_states_before_the_forcing():
    problem = problem_of(wave())
    key = jax.random.key(2)
    losses = []
    for alpha in (0.0, 1.0):
        method = TeacherForcing(members=1, forcing=alpha, penalty=0.0, training=QUICK)
        model = method.init(problem, key=key)
        batch = method.batches(problem).sample(0, model, key=key)
        losses.append(float(method.loss(model, batch, key=key)[0]))
    one_step = jax.vmap(jax.vmap(model.step))(batch["values"][:, :-1])
    exact = jnp.mean((one_step - batch["values"][:, 1:]) ** 2)
    np.testing.assert_allclose(losses[1], exact, rtol=1e-12)
    assert losses[0] > losses[1]


def test_henon_is_learned_and_its_exponent_found():
    y = henon(3000)
    method = TeacherForcing(
        members=1, hidden=30, forcing=AdaptiveForcing(decay=0.9), training=forced_steps(1500)
    )
    solution = ct.solve(problem_of(y, step=1.0), method, key=jax.random.key(0))
    assert solution.result.ok, solution.result
    assert 0.3 < solution.stats["alpha"] < 0.95
    t = np.arange(2251, 2256)
    error = np.abs(solution.values(t).T - y[t])
    assert error[0].max() < 0.1  # of values between -1.3 and 1.3
    free = solution.evaluator.simulate(y[2250], 700)
    assert np.abs(free).max() < 1.6
    np.testing.assert_allclose(free.mean(axis=0), y.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(free.std(axis=0), y.std(axis=0), rtol=0.05)
    found = ct.metrics.lyapunov_spectrum(
        solution.evaluator.member(0).step, np.zeros(2), steps=20_000
    )
    np.testing.assert_allclose(found[0], 0.419, rtol=0.2)  # of Hénon's map
    # Further ahead forecasts are less sure, up to the size of the attractor.
    near, far = solution.deviation(np.array([2251.0, 2280.0]))[0]
    assert near < 0.1 * far
    assert 0.5 * y[:, 0].std() < far < 2 * y[:, 0].std()


def test_a_free_run_is_the_forecast():
    y = wave()
    method, problem = TeacherForcing(members=1, size=3), problem_of(y)
    solution = method.finish(method.init(problem, key=jax.random.key(0)), problem)
    free = solution.evaluator.simulate(y[:151], 20)
    t = 0.1 * np.arange(151, 171)
    np.testing.assert_allclose(free, solution.values(t).T, rtol=1e-9)


def test_a_method_keeps_its_windows_as_long_as_its_forcing():
    method = TeacherForcing(forcing=AdaptiveForcing(every=7))
    assert [s.refresh for s in method.training.stages] == [7]
    assert [s.refresh for s in TeacherForcing(forcing=0.1).training.stages] == [1]
    again = dataclasses.replace(method, forcing=AdaptiveForcing(every=3))
    assert [s.refresh for s in again.training.stages] == [3]


def test_what_it_cannot_take_is_told():
    y = wave()
    times = np.sort(np.random.default_rng(0).uniform(0, 20, 200))
    uneven = dataclasses.replace(problem_of(y), series=(Series("0", times, y),))
    support = TeacherForcing().supports(uneven)
    assert not support.ok
    assert "evenly spaced" in support.reason
    assert "NeuralODE" in support.reason
    assert "uses no equation" in TeacherForcing().supports(ct.problems.pelt_counts()).reason
    few = problem_of(y[:12])
    assert "24 rows or more" in TeacherForcing(dimension=3, delay=7).supports(few).reason


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cell": "lstm"}, "give one of plrnn, ode"),
        ({"observation": "none"}, "give one of identity, affine"),
        ({"forcing": 1.5}, "give 0 to 1"),
        ({"delay": 0}, "give 1 or more"),
        ({"cell": "ode", "forcing": AdaptiveForcing("parameters")}, "AdaptiveForcing\\('product'"),
    ],
)
def test_bad_arguments_are_told(fields, message):
    with pytest.raises(InputError, match=message):
        TeacherForcing(**fields)


def test_bad_forcing_sizes_and_starts_are_told():
    with pytest.raises(InputError, match="give one of product, maximum"):
        AdaptiveForcing("largest")
    with pytest.raises(InputError, match="2 steps or more"):
        AdaptiveForcing(every=1)
    with pytest.raises(InputError, match="give 2 or more, or observation='affine'"):
        TeacherForcing(size=1).init(problem_of(wave()), key=jax.random.key(0))
    method, problem = VARIANTS["delays"], problem_of(wave())
    solution = method.finish(method.init(problem, key=jax.random.key(0)), problem)
    with pytest.raises(InputError, match="give 9 rows or more"):
        solution.evaluator.simulate(np.zeros((8, 2)), 3)
