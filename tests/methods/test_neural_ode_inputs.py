"""Neural ODEs with known inputs: their lines between rows, a driven oscillator, what is missing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.methods.dynamics import NeuralODE
from continua.methods.dynamics.neural_ode import fit_steps
from continua.methods.dynamics.observations import input_scaling, scaling_of, segments_of
from continua.methods.dynamics.rollout import rollout
from continua.problems import Series, SeriesProblem
from continua.train import fit

KEY = jax.random.key(0)


def test_inputs_go_straight_from_row_to_row():
    """`y' = u - y` is exact within each piece, where `u` is a line."""
    times, inputs = np.array([0.0, 0.4, 1.0, 1.7]), np.array([0.0, 1.0, -1.0, 0.5])
    exact = [0.3]
    for h, a, b in zip(np.diff(times), inputs[:-1], inputs[1:], strict=True):
        slope = (b - a) / h
        exact.append((exact[-1] - a + slope) * np.exp(-h) + b - slope)
    field = lambda t, y, u: u - y  # noqa: E731
    given = (field, jnp.asarray(times), jnp.array([0.3]))
    gaps = []
    for substeps in (4, 8):
        found = rollout(*given, substeps, jnp.asarray(inputs)[:, None])
        gaps.append(np.abs(found[:, 0] - np.array(exact)).max())
    assert gaps[1] < 1e-6
    assert gaps[0] / gaps[1] > 12
    implicit = rollout(*given, 0, jnp.asarray(inputs)[:, None])
    np.testing.assert_allclose(implicit[:, 0], exact, atol=1e-7)


def force(t, number=0):
    """What drives the oscillator: the same up to time 20, then as before or half as strong."""
    size = np.where(t > 20, 1 - 0.5 * number, 1.0)
    return size * (np.sin(0.7 * t) + 0.6 * np.sin(1.9 * t + 1))


def driven(number=0, gaps=0, noise=0.01) -> SeriesProblem:
    """`x'' = -x - 0.3 x' + u` with `u` a line between rows, a third of it held out."""
    t = np.linspace(0, 30, 121)
    u = force(t, number)

    def field(s, y):
        return [y[1], -y[0] - 0.3 * y[1] + np.interp(s, t, u)]

    y = solve_ivp(field, (0, 30), [0.5, 0.0], t_eval=t, rtol=1e-8, max_step=0.25).y.T
    y = y + noise * np.random.default_rng(0).standard_normal(y.shape)
    if gaps:
        y[np.arange(len(t)) % gaps != 0] = np.nan
    series = (Series("a", t, y, u[:, None]),)
    return SeriesProblem(
        "driven", "Driven oscillator", ("x", "v"), "t", series, split=20.0, inputs=("u",)
    )


def _rms(x):
    return np.sqrt(np.mean(x**2))


def test_rows_of_inputs_alone_stay_within_the_pieces():
    problem = driven(gaps=3)
    scaling, inputs = scaling_of(problem, ("x", "v"), False), input_scaling(problem)
    assert inputs is not None
    segments = segments_of(problem, ("x", "v"), scaling, 2, inputs)
    assert segments.inputs is not None
    assert segments.times.shape == (13, 7)  # two intervals of three rows
    np.testing.assert_array_equal(segments.mask[0, :, 0], [1, 0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(segments.times[:-1, -1], segments.times[1:, 0])
    expected = force(segments.times)
    np.testing.assert_allclose(inputs.decode(segments.inputs)[..., 0], expected, atol=1e-12)
    seen = force(problem.series[0].t[problem.series[0].t <= 20])
    np.testing.assert_allclose([inputs.mean[0], inputs.std[0]], [seen.mean(), seen.std()])


def test_a_driven_oscillator_is_forecast_under_any_known_future(tmp_path):
    method = NeuralODE(members=1, substeps=1, training=fit_steps(1500))
    problems = [driven(0), driven(1)]  # trained once: what comes after the split is not looked at
    model = fit(method, problems[0], key=KEY).model
    solutions = [method.finish(model, problem) for problem in problems]
    for problem, own, other in zip(problems, solutions, solutions[::-1], strict=True):
        (held,) = problem.held_out()
        error, wrong = (_rms(s.values(held.t).T - held.y) for s in (own, other))
        assert error < 0.35
        assert error < 0.75 * wrong
    solution = solutions[1]
    assert np.isnan(solution.values(np.array([30.5]))).all()  # inputs are known no further
    forecast, t = solution.evaluator, held.t
    path = forecast.simulate(held.y[0], t, inputs=force(t, 1)[:, None])
    assert _rms(path - held.y) < 0.35
    save_tree(tmp_path / "model", solution)
    np.testing.assert_array_equal(load_tree(tmp_path / "model").values(t), solution.values(t))
    for given, said in ((None, "none were given"), (force(t)[:3, None], r"got \(3, 1\)")):
        with pytest.raises(InputError, match=rf"future covariates missing: {said}.*\(40, 1\)"):
            forecast.simulate(held.y[0], t, inputs=given)
    with pytest.raises(InputError, match="some are not finite"):
        forecast.simulate(held.y[0], t, inputs=np.full((40, 1), np.nan))


def test_adaptive_steps_see_the_same_inputs():
    fixed = NeuralODE(members=2, width=4, substeps=30)
    problem = driven()
    model = fixed.init(problem, key=KEY)
    batch = fixed.batches(problem).sample(1, model, key=KEY)
    losses = []
    for method in (fixed, dataclasses.replace(fixed, tolerance=1e-7)):
        losses.append(jax.jit(lambda method=method: method.loss(model, batch, key=KEY)[0])())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_future_inputs_must_be_known():
    t = np.arange(4.0)
    y = np.array([[1.0], [2.0], [np.nan], [np.nan]])
    inputs = np.array([[0.0], [1.0], [1.0], [np.nan]])
    with pytest.raises(InputError, match="future covariates missing: a known input.*time 3"):
        Series("a", t, y, inputs)
    with pytest.raises(InputError, match="'a': a known input has no value at time 0"):
        Series("a", t, y, inputs[::-1])


def test_what_keeps_its_energy_takes_no_inputs():
    problem = driven()
    for form in ("hamiltonian", "lagrangian"):
        told = NeuralODE(form=form).supports(problem)
        assert "takes no inputs" in told.reason
    alone = dataclasses.replace(
        problem,
        variables=("x",),
        series=tuple(Series(s.name, s.t, s.y[:, :1], s.inputs) for s in problem.series),
    )
    method = NeuralODE(form="second", members=1, width=4)
    assert method.supports(alone).ok
    model = method.init(alone, key=KEY)
    field = jax.tree.map(lambda x: x[0], model.field)
    z = jnp.array([0.2, -0.1])
    slopes = [field(0.0, z, jnp.array([u])) for u in (0.0, 1.0)]
    assert slopes[0][0] == slopes[1][0]
    assert slopes[0][1] != slopes[1][1]
