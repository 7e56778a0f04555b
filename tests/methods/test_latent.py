"""Latent ODE and latent SDE: exact divergences and likelihoods, the grid, the answers."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import continua as ct
from continua.compare import score
from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.dynamics.latent import LatentODE, LatentSDE, latent_steps, layout_of
from continua.methods.dynamics.latent_model import LatentModel
from continua.methods.dynamics.latent_window import Pace
from continua.problems import Series, SeriesProblem, hide
from tests.methods.bounds import bounds

KEY = jax.random.key(0)
STEP = 0.05


def walks(count=12, rows=20, *, uneven=False, seed=0, **fields) -> SeriesProblem:
    rng = np.random.default_rng(seed)
    series = []
    for i in range(count):
        t = np.arange(float(rows))
        t = np.sort(rng.uniform(0, rows - 1, rows)) if uneven else t
        steps = np.sqrt(np.diff(t, prepend=t[0]))[:, None] * rng.standard_normal((rows, 1))
        series.append(Series(str(i), t, np.cumsum(steps, axis=0)))
    return SeriesProblem(
        name="walks", title="Walks", variables=("x",), time="t", series=tuple(series), **fields
    )


def linear_model(*, damping=0.0, g=0.7, noise=0.1, states=1, context=4, step=STEP) -> LatentModel:
    """`dz = -damping z dt + g dW`, `z(0)` near 0, `x = z + noise`."""
    pace = Pace(step, step, 1.0, 1.0)
    model = LatentModel(
        states,
        1,
        0,
        width=4,
        depth=1,
        context=context,
        noisy=True,
        time_dependent=False,
        pace=pace,
        key=KEY,
    )

    def raw(x):
        return jnp.log(jnp.expm1(x - 1e-3))

    def plain(m):
        return (
            m.linear.weight,
            m.scale,
            m.diffusion.mlp.layers[-1].weight,
            m.diffusion.mlp.layers[-1].bias,
            m.decoder.weight,
            m.decoder.bias,
            m.raw_noise,
            m.raw_prior,
            m.start.weight,
            m.start.bias,
        )

    return eqx.tree_at(
        plain,
        model,
        (
            -damping * jnp.eye(states),
            jnp.zeros(states),
            jnp.zeros((states, 4)),
            jnp.full(states, raw(g)),
            jnp.eye(1, states),
            jnp.zeros(1),
            jnp.full(1, raw(noise)),
            jnp.full(states, -20.0),
            jnp.zeros((2 * states, context)),
            jnp.full(2 * states, -20.0).at[:states].set(0.0),
        ),
    )


def one_window(values, layout=None):
    problem = walks(1, rows=len(values))
    layout = layout_of(problem, None, 1, False) if layout is None else layout
    window = layout.window(0, 0, len(values))
    window = dataclasses.replace(
        window,
        times=STEP * jnp.arange(float(len(values))),
        values=jnp.asarray(np.nan_to_num(values))[:, None],
        mask=jnp.isfinite(jnp.asarray(values)).astype(float)[:, None],
    )
    rows = np.flatnonzero(np.isfinite(values))
    ahead = np.searchsorted(rows, np.arange(len(values) - 1), side="right")
    following = np.append(rows, len(values))[ahead]
    return dataclasses.replace(window, following=jnp.asarray(following))


def covariance(count, damping, g, step=STEP):
    """Of the Euler chain."""
    decay, table = 1 - damping * step, np.zeros((count, count))
    variance = np.zeros(count)
    variance[0] = 1e-6
    for i in range(1, count):
        variance[i] = decay**2 * variance[i - 1] + g**2 * step
    for i in range(count):
        for j in range(count):
            table[i, j] = variance[min(i, j)] * decay ** abs(i - j)
    return table


def exact(values, damping, g, noise):
    """`log p` of the Euler chain by its covariance."""
    there = np.isfinite(values)
    whole = covariance(len(values), damping, g)[np.ix_(there, there)]
    whole = whole + noise**2 * np.eye(there.sum())
    return multivariate_normal(np.zeros(there.sum()), whole).logpdf(values[there])


def path(count=15, seed=0, gaps=()):
    rng = np.random.default_rng(seed)
    values = np.cumsum(0.7 * np.sqrt(STEP) * rng.standard_normal(count))
    values = values - values[0]
    values[list(gaps)] = np.nan
    return values


def test_a_constant_control_costs_its_square():
    model = linear_model(states=3)
    c = jnp.array([0.5, -1.0, 2.0])
    model = eqx.tree_at(
        lambda m: m.control.layers[-1].bias, model, c * model.pace.row**0.5
    )  # in the size of the noise of a row
    window = one_window(np.full(15, np.nan))
    for seed in range(3):
        _, start, cost, _ = model.posterior(window, key=jax.random.key(seed))
        np.testing.assert_allclose(cost, float(c @ c) / 2 * 14 * STEP, rtol=1e-12)
        np.testing.assert_allclose(start, 0, atol=1e-9)


def test_without_data_the_posterior_is_the_prior():
    model = linear_model(damping=2.0)
    window = one_window(np.full(15, np.nan))
    states, start, cost, _ = model.posterior(window, key=KEY)
    np.testing.assert_allclose(states, model.prior(window.acting, key=KEY), atol=1e-8)
    np.testing.assert_allclose([float(start), float(cost)], 0, atol=1e-9)


def test_the_bound_of_a_random_walk_measured_exactly_is_its_likelihood():
    """Each row is then all that is to be known of the way to it."""
    model, values = linear_model(noise=2e-3), path()
    mean, error = bounds(model, one_window(values))
    right = exact(values, 0.0, 0.7, 2e-3)
    assert error < 0.1
    assert abs(mean - right) < 4 * error + 1e-3 * abs(right)


@pytest.mark.parametrize("damping", [0.0, 3.0])
def test_the_bound_lies_below_the_likelihood_and_near_it(damping):
    model, values = linear_model(damping=damping), path(gaps=(3, 4, 9))
    mean, error = bounds(model, one_window(values))
    right = exact(values, damping, 0.7, 0.1)
    assert mean < right + 3 * error
    assert mean > right - 0.25 * len(values)


@pytest.mark.parametrize("damping", [0.0, 3.0])
def test_more_draws_bring_the_bound_to_the_likelihood(damping):
    model, values = linear_model(damping=damping), path(gaps=(3, 4, 9))
    right, seen, gaps = exact(values, damping, 0.7, 0.1), one_window(values), []
    for draws in (1, 32):
        mean, error = bounds(model, seen, draws=draws, count=2000, seed=0)
        gaps.append(right - mean)
        assert gaps[-1] > -4 * error
    assert gaps[1] < 0.4 * gaps[0]


def test_ratios_of_densities_at_the_draw_are_normalised():
    """Of the first state and the path, where the posterior is no narrower than the prior."""
    model, window = linear_model(damping=1.0, states=2), one_window(np.full(5, np.nan))
    model = eqx.tree_at(
        lambda m: (m.raw_prior, m.start.bias, m.control.layers[-1].bias),
        model,
        (jnp.array([0.3, -0.5]), jnp.array([0.4, -0.3, 1.5, 1.0]), jnp.array([0.1, -0.2])),
    )
    run = jax.jit(jax.vmap(lambda k: model.elbo(window, 1.0, key=k, at_draw=True)[1]))
    parts = run(jax.random.split(KEY, 40_000))
    for ratio in (parts["start"], parts["start"] + parts["path"]):
        shares = np.exp(-np.asarray(ratio))
        error = shares.std() / 200
        assert 0 < error < 0.01
        assert abs(shares.mean() - 1) < 4 * error


def test_ratios_of_densities_at_the_draw_have_the_divergence_as_their_mean():
    model, window = linear_model(damping=1.0, noise=0.3), one_window(path(gaps=(3, 4)))
    runs = [
        jax.jit(jax.vmap(lambda k, a=a: model.elbo(window, 1.0, key=k, at_draw=a)[0]))
        for a in (False, True)
    ]
    mean, ratio = (np.asarray(run(jax.random.split(KEY, 10_000))) for run in runs)
    error = (ratio - mean).std() / 100
    assert 1e-4 < error < 0.05
    assert abs(np.mean(ratio - mean)) < 4 * error


def test_the_bound_has_the_gradient_that_differences_find():
    model, window = linear_model(damping=1.0), one_window(path())
    leaves, structure = jax.tree.flatten(eqx.filter(model, eqx.is_inexact_array))
    rest = eqx.filter(model, eqx.is_inexact_array, inverse=True)

    def bound(step):
        moved = [x + step * jnp.cos(jnp.arange(float(x.size))).reshape(x.shape) for x in leaves]
        return eqx.combine(jax.tree.unflatten(structure, moved), rest).elbo(window, 0.5, key=KEY)[0]

    slope, step = jax.grad(bound)(0.0), 1e-6
    about = (bound(step) - bound(-step)) / (2 * step)
    np.testing.assert_allclose(slope, about, rtol=1e-6)


@pytest.mark.parametrize("uneven", [False, True])
def test_rows_lie_where_they_were_measured(uneven):
    problem = walks(3, uneven=uneven)
    layout = layout_of(problem, None, 2, False)
    for r in range(3):
        window = layout.window(r, 0, 20)
        at = layout.unit * (np.asarray(window.node) + np.asarray(window.share))
        t = problem.series[r].t - problem.series[r].t[0]
        np.testing.assert_allclose(at, t, atol=1e-9 if uneven else 1e-12)
        following = np.asarray(window.following)
        nodes = layout.unit * np.arange(layout.nodes)
        behind = t[np.minimum(following, 19)] > nodes - 1e-9
        assert np.all(behind | (following == 20))
        assert np.all(np.diff(following) >= 0)
    if not uneven:
        np.testing.assert_allclose(window.share, np.asarray(window.share).round(), atol=1e-12)


def test_long_series_are_cut_into_windows_that_cover_them():
    problem = walks(1, rows=57)
    layout = layout_of(problem, 20, 1, False)
    covered = np.zeros(57)
    scaled = (problem.series[0].y - layout.scaling.mean) / layout.scaling.std
    for window in layout.training(0):
        begin = int(np.argmin(np.abs(scaled[:, 0] - float(window.values[0, 0]))))
        np.testing.assert_allclose(window.values, scaled[begin : begin + 20])
        covered[begin : begin + 20] += 1
    assert covered.min() == 1
    pieces = layout.answering(0)
    assert pieces[-1][1] == 57
    assert pieces[0][0] == 0
    assert all(b[0] == a[1] - 1 for a, b in zip(pieces[:-1], pieces[1:], strict=True))
    assert all(e - b <= 20 for b, e in pieces)


SMALL: dict[str, Any] = {"width": 8, "context": 8, "states": 2, "draws": 20, "batch_size": 8}


@pytest.mark.parametrize("cls", [LatentODE, LatentSDE])
def test_hidden_values_of_waves_are_found(cls, tmp_path):
    t = np.linspace(0, 6, 25)
    series = tuple(
        Series(str(i), t, np.sin(t + 0.7 * i)[:, None], np.cos(t)[:, None]) for i in range(10)
    )
    problem = SeriesProblem(
        name="waves",
        title="Waves",
        variables=("x",),
        time="t",
        series=series,
        inputs=("c",),
        statics={"s": tuple(float(i) for i in range(10))},
    )
    problem = hide(problem, 0.3)
    method = cls(**SMALL, training=latent_steps(250, 2e-2))
    solution = ct.solve(problem, method, key=KEY)
    assert solution.result.ok
    errors = score(solution, problem)
    assert errors["normalised_rmse_held_out"] < 0.75
    # Inputs are known to the last row alone.
    assert np.isnan(solution(3.0, 6.5)).all()
    deviation = solution.deviation(np.full(25, 3.0), t)
    assert np.all(deviation > 0)
    solution.save(tmp_path)
    again = Solution.load(tmp_path)
    np.testing.assert_array_equal(again(3.0, t), solution(3.0, t))


def test_new_series_do_not_depend_on_company(tmp_path):
    problem = walks(16, task="generate", tested=(14, 15))
    solution = ct.solve(problem, LatentSDE(**SMALL, training=latent_steps(40, 2e-2)), key=KEY)
    new = solution.evaluator.sample([0, 3, 7])
    with stopwatch() as clock:
        solution.evaluator.sample([1, 2, 4])
    assert clock.compile == 0  # as many more
    np.testing.assert_allclose(solution.evaluator.sample([7])[0], new[2], atol=1e-6)
    t = np.arange(20.0)
    np.testing.assert_allclose(solution(np.full(20, 3.0), t), new[1, : 2 * 20 : 2, 0], atol=1e-5)
    assert 0 < score(solution, problem)["signature_distance"] < np.inf
    solution.save(tmp_path)
    np.testing.assert_array_equal(Solution.load(tmp_path)(3.0, t), solution(3.0, t))


def test_forecasts_begin_at_the_last_row():
    problem = walks(1, rows=40, split=29.0)
    method = LatentSDE(**SMALL, window=12, training=latent_steps(60, 2e-2))
    solution = ct.solve(problem, method, key=KEY)
    t = np.arange(40.0)
    values, (wide,) = solution(t), solution.deviation(t)
    assert np.isfinite(values).all()
    assert np.abs(values[:30] - problem.series[0].y[:30, 0]).mean() < 1.0
    assert wide[35:].mean() > 1.3 * wide[:30].mean()


def test_a_tighter_bound_is_trained_by():
    problem = walks(8)
    plain, tight = (LatentSDE(**SMALL, importance_draws=n) for n in (1, 8))
    model, batches = plain.init(problem, key=KEY), plain.batches(problem)
    batch = batches.sample(jnp.asarray(400), None, key=KEY)  # divergences weigh in full
    found = []
    for method in (plain, tight):
        run = jax.jit(jax.vmap(lambda k, m=method: m.loss(model, batch, key=k)[0]))
        found.append(np.mean(run(jax.random.split(KEY, 64))))
    assert found[1] < found[0] - 1e-3
    tight = dataclasses.replace(tight, training=latent_steps(20))
    fitted = ct.solve(problem, tight, key=KEY)
    assert np.isfinite(fitted(0.0, np.arange(20.0))).all()


def test_weighted_draws_answer_by_the_law_of_the_data():
    """Of a posterior that knows the next row alone, in a gap."""
    values = path(gaps=(5, 6, 7, 8, 9))
    t = np.arange(15.0)
    problem = SeriesProblem(
        "walk", "Walk", ("x",), "t", (Series("0", t, values[:, None]),), split=14.0
    )
    layout = layout_of(problem, None, 1, False)
    scale, step = layout.scaling, layout.pace.step
    model = linear_model(damping=1.0, noise=0.5, step=step)
    scaled = (values - scale.mean[0]) / scale.std[0]
    table = covariance(len(values), 1.0, 0.7, step)
    there = np.isfinite(values)
    gain = table[:, there] @ np.linalg.inv(table[np.ix_(there, there)] + 0.25 * np.eye(there.sum()))
    mean = gain @ scaled[there]
    wide = np.sqrt(np.diag(table - gain @ table[there]) + 0.25)
    errors = []
    for draws in (1, 2):
        method = LatentSDE(importance_draws=draws, draws=40_000, substeps=1)
        answers = method.finish(model, problem)
        found = (answers(t) - scale.mean[0]) / scale.std[0]
        spread = answers.deviation(t)[0] / scale.std[0]
        errors.append(np.abs(found - mean).max())
    assert errors[1] < 0.04
    assert errors[1] < errors[0] / 15
    np.testing.assert_allclose(spread, wide, rtol=0.03)


def test_what_cannot_be_learned_is_said():
    problem = walks(1, rows=150)
    with pytest.raises(InputError, match=r"time_dependent: .*cut into windows of 100.*window=150"):
        ct.solve(problem, LatentSDE(time_dependent=True))
    with pytest.raises(InputError, match="window: got 1; give 2 rows or more"):
        ct.solve(problem, LatentODE(window=1))
    with pytest.raises(InputError, match=r"importance_draws: got 0; give 1, or 8"):
        LatentSDE(importance_draws=0)
    labelled = walks(2, task="classify", targets=("a", "b"))
    assert LatentODE().supports(labelled).reason == "LatentODE does not classify series"
