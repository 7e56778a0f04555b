"""Reservoirs: their random parts, their readout, and what they forecast."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import continua as ct
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.dynamics.even import without_gaps
from continua.methods.dynamics.reservoir import Reservoir, _readouts, _scaled, features
from continua.problems import Series, SeriesProblem

FIXED = {"radius": 0.9, "input_scale": 0.5, "leak": 1.0, "ridge": 1e-8}


def problem_of(*tables, split=None) -> SeriesProblem:
    return SeriesProblem(
        name="rows",
        title="Rows",
        variables=("x", "y"),
        time="t",
        series=tuple(Series(str(i), 0.1 * np.arange(len(y)), y) for i, y in enumerate(tables)),
        split=0.1 * (len(tables[0]) * 3 // 4) if split is None else split,
    )


def wave(rows: int = 400) -> np.ndarray:
    t = 0.1 * np.arange(rows)
    return np.stack([np.sin(t) + np.cos(2.3 * t), 3 * np.cos(t)], axis=-1)


def solve(method, problem):
    prepared = method.prepare(problem, key=jax.random.key(0))
    return prepared.finish(prepared.program(prepared.inputs))


@pytest.mark.parametrize("size", [20, 120])
def test_the_spectral_radius_is_that_asked_for(size):
    heard, inner, outer, shift = _scaled(Reservoir(size=size)._drawn(3, 2), 0.7, 0.5)
    whole = np.zeros((size, size))
    np.put_along_axis(whole, np.asarray(heard), np.asarray(inner), axis=1)
    assert (whole != 0).sum() == 6 * size
    np.testing.assert_allclose(np.abs(np.linalg.eigvals(whole)).max(), 0.7, rtol=1e-9)
    assert np.abs(outer).max() <= 0.5
    assert np.abs(shift).max() <= 0.5


def test_the_readout_is_the_ridge_regression():
    rng = np.random.default_rng(0)
    units, z = jnp.asarray(rng.normal(size=(60, 7))), rng.normal(size=(60, 2))
    z[30] = np.nan  # a row without a goal
    (found,) = _readouts([(units, z)], (1e-2,))
    f, goal = np.asarray(features(units))[12:-1], z[13:]
    there = np.isfinite(goal).all(axis=1)
    f, goal = f[there], goal[there]
    gram = f.T @ f
    size = 1e-2 * np.trace(gram) / len(gram)
    np.testing.assert_allclose(
        found, np.linalg.solve(gram + size * np.eye(len(gram)), f.T @ goal).T, rtol=1e-10
    )
    np.testing.assert_allclose(f[:, 0], 1.0)
    np.testing.assert_allclose(f[:, 2], np.asarray(units)[12:-1][there][:, 1] ** 2)


def test_waves_are_forecast():
    y = wave()
    still = {"radius": 0.4, "input_scale": 0.1, "leak": 1.0, "ridge": 1e-10}
    solution = solve(Reservoir(size=100, members=3, **still), problem_of(y))
    t = 0.1 * np.arange(301, 400)
    np.testing.assert_allclose(solution.values(t).T, y[301:], atol=5e-3)
    assert np.all(solution.deviation(t) < 0.05)
    assert solution.stats["terms"] == 3 * 2 * 101


def test_a_free_run_is_the_forecast_and_is_read_back(tmp_path):
    y = wave()
    y[50:52] = np.nan
    problem = problem_of(y, y[:200])
    solution = solve(Reservoir(size=40, members=2, **FIXED), problem)
    first, t = np.zeros(20), 0.1 * np.arange(301, 321)
    values = solution.evaluator.values[0][0, 301:321]  # of the first member
    start = solution.evaluator.model.scaling.decode(
        without_gaps(solution.evaluator.model.scaling.encode(y[52:301]))
    )
    free = solution.evaluator.simulate(start, 20)
    np.testing.assert_allclose(
        free, solution.evaluator.model.scaling.decode(values), rtol=1e-6, atol=1e-6
    )
    solution.save(tmp_path)
    again = Solution.load(tmp_path)
    np.testing.assert_array_equal(again.values(first, t), solution.values(first, t))
    np.testing.assert_array_equal(again.evaluator.simulate(start, 20), free)


def test_rows_are_told_by_those_before():
    solution = solve(Reservoir(size=40, members=2, **FIXED), problem_of(wave()))
    model = solution.evaluator.model
    x = jnp.asarray(model.scaling.encode(wave()[:90]))
    told, states = model.read(x, np.ones(x.shape, bool), np.array([30, 60]))
    free = model.run(states, 3)
    np.testing.assert_allclose(free[:, :, 0], told[:, [31, 61]], rtol=1e-12)
    changed, _ = model.read(x.at[50].add(1.0), np.ones(x.shape, bool), np.array([30]))
    np.testing.assert_array_equal(changed[:, :50], told[:, :50])
    assert np.abs(changed[:, 51] - told[:, 51]).max() > 0.1


def test_what_is_not_given_is_chosen_by_free_runs():
    y = wave() + 0.02 * np.random.default_rng(0).normal(size=(400, 2))
    problem = problem_of(y)
    chosen = solve(Reservoir(size=60, members=1), problem)
    poor = solve(Reservoir(size=60, members=1, **{**FIXED, "ridge": 1e3}), problem)
    t = 0.1 * np.arange(301, 400)
    errors = [np.sqrt(np.mean((s.values(t).T - wave()[301:]) ** 2)) for s in (chosen, poor)]
    assert errors[0] < 0.2
    assert errors[0] < 0.2 * errors[1]
    assert chosen.stats["leak"] in (0.3, 1.0)


def test_the_fit_counts_as_training():
    solution = ct.solve(problem_of(wave()), Reservoir(size=40, members=1, **FIXED))
    assert solution.result.ok
    assert solution.cost.training > 0
    assert solution.cost.parameters == 2 * 41


def test_bad_input_is_told():
    uneven = dataclasses.replace(
        problem_of(wave()),
        series=(Series("0", np.sort(np.random.default_rng(0).uniform(0, 20, 400)), wave()),),
    )
    assert "evenly spaced" in Reservoir().supports(uneven).reason
    assert "30 rows or more" in Reservoir().supports(problem_of(wave(20))).reason
    with pytest.raises(InputError, match="give 0 to 1"):
        Reservoir(leak=0.0)
    with pytest.raises(InputError, match="2 units or more"):
        Reservoir(size=1)
