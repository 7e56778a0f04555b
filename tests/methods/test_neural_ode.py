"""Neural ordinary differential equations, alone and beside a formula."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from continua.core.serialise import load_tree, save_tree
from continua.equations import Equation
from continua.methods.dynamics import NeuralODE
from continua.methods.dynamics.neural_ode import fit_steps
from continua.methods.dynamics.observations import scaling_of, segments_of
from continua.methods.dynamics.rollout import rollout
from continua.nets import VectorField
from continua.problems import Series, SeriesProblem, Unknown
from continua.train import fit

KEY = jax.random.key(0)


def spiral(noise=0.0, gaps=0.0, seed=0):
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 9, 91)
    matrix = np.array([[-0.1, 1.3], [-1.0, -0.1]])
    y = np.stack([expm(matrix * s) @ [2.0, 0.0] for s in t])
    y = y + noise * rng.normal(size=y.shape)
    y[rng.random(y.shape) < gaps] = np.nan
    y[0] = [2.0, 0.0]
    return SeriesProblem(
        name="spiral",
        title="Spiral",
        variables=("x", "y"),
        time="t",
        series=(Series(name="a", t=t, y=y),),
        split=6.0,
    )


def test_rollout_converges_with_order_four():
    matrix = jnp.array([[-0.1, 1.3, 0.2], [-1.0, -0.1, 0.0], [0.1, 0.0, -0.5]])
    start, times = jnp.array([1.0, 0.5, -1.0]), jnp.linspace(0, 1, 5)
    exact = expm(np.asarray(matrix)) @ np.asarray(start)
    errors = [
        np.linalg.norm(rollout(lambda t, y: matrix @ y, times, start, n)[-1] - exact)
        for n in (1, 2, 4)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 4.0, atol=0.15)
    implicit = rollout(lambda t, y: matrix @ y, times, start, 0)[-1]
    np.testing.assert_allclose(implicit, exact, atol=1e-7)


def test_gradient_through_a_rollout_equals_finite_differences():
    matrix = jax.random.normal(KEY, (2, 2))
    times, start = jnp.linspace(0, 1, 11), jnp.array([1.0, -0.3])

    def value(m):
        return jnp.sum(rollout(lambda t, y: jnp.tanh(m @ y), times, start, 4)[-1] ** 2)

    gradient, step = jax.grad(value)(matrix), 1e-6
    for i, j in np.ndindex(2, 2):
        moved = [value(matrix.at[i, j].add(s * step)) for s in (1, -1)]
        slope = (moved[0] - moved[1]) / (2 * step)
        np.testing.assert_allclose(gradient[i, j], slope, rtol=1e-6, atol=1e-9)


def test_one_dimensional_flows_keep_their_order():
    times = jnp.linspace(0, 3, 20)

    def gap(key):
        first, second = jax.random.split(key)
        field = VectorField(1, width=8, scale=3.0, key=first)
        ends = jnp.sort(jax.random.normal(second, (2, 1)), axis=0)
        paths = jax.vmap(lambda y: rollout(lambda t, z: field(t, z), times, y, 4))(ends)
        return paths[1, -1, 0] - paths[0, -1, 0]

    assert jnp.all(jax.vmap(gap)(jax.random.split(KEY, 200)) > 0)


def test_segments_cover_series_and_meet_at_their_ends():
    problem = spiral(gaps=0.2)
    scaling = scaling_of(problem, ("x", "y"), None)
    segments = segments_of(problem, ("x", "y"), scaling, 8)
    assert not scaling.log
    assert segments.times.shape == (8, 9)
    np.testing.assert_array_equal(segments.times[:-1, -1], segments.times[1:, 0])
    np.testing.assert_array_equal(segments.follows, 1.0)
    assert np.all(np.isfinite(segments.starts))
    y = np.array([[0.3, -2.0]])
    np.testing.assert_allclose(scaling.decode(scaling.encode(y)), y, atol=1e-14)


def test_held_out_data_are_never_looked_at():
    problem = spiral()
    (series,) = problem.series
    changed = np.where(series.t[:, None] > problem.split, 1e6, series.y)
    other = dataclasses.replace(problem, series=(dataclasses.replace(series, y=changed),))
    method = NeuralODE(training=fit_steps(10), members=1, width=4, substeps=1)
    values = []
    for p in (problem, other):
        model = fit(method, p, key=KEY).model
        values.append(method.finish(model, p).values(series.t))
    np.testing.assert_array_equal(*values)


def test_a_network_learns_and_forecasts_a_spiral(tmp_path):
    problem = spiral(noise=0.01, gaps=0.2)
    method = NeuralODE(training=fit_steps(1000), members=2, substeps=1)
    solution = method.finish(fit(method, problem, key=KEY).model, problem)
    exact = spiral().series[0]
    held_out = exact.t > problem.split
    predicted = solution.values(exact.t).T
    error = np.sqrt(np.mean((predicted - exact.y)[held_out] ** 2))
    mean = np.sqrt(np.mean((exact.y[~held_out].mean(0) - exact.y[held_out]) ** 2))
    assert error < 0.6 * mean
    assert np.all(solution.deviation(exact.t) > 0)
    assert np.isnan(solution.values(1e3)).all()
    save_tree(tmp_path / "forecast", solution.evaluator)
    points = exact.t[:, None]
    np.testing.assert_array_equal(
        load_tree(tmp_path / "forecast")(points), solution.evaluator(points)
    )
    path = solution.evaluator.simulate([2.0, 0.0], exact.t)
    np.testing.assert_allclose(path[0], [2.0, 0.0])
    assert np.sqrt(np.mean((path - exact.y) ** 2)) < 0.3


def test_a_formula_without_its_network_is_integrated_exactly():
    t = np.linspace(0, 5, 26)
    field = lambda t, y: [0.5 * y[0] * (1 - y[0] / 3.0)]  # noqa: E731
    y = solve_ivp(field, (0, 5), [0.2], t_eval=t, rtol=1e-11, atol=1e-11).y.T
    problem = SeriesProblem(
        name="logistic",
        title="Logistic",
        variables=("u",),
        time="t",
        series=(Series(name="a", t=t, y=y),),
        split=3.0,
        equation=Equation(
            ("u_t = r*u*(1 - u/K)",),
            ("u",),
            ("t",),
            (
                "r",
                "K",
            ),
        ),
        parameters={"K": 3.0},
        unknown_parameters={"r": Unknown(start=0.5, lower=0.0, upper=5.0)},
    )
    method = NeuralODE(segment=0, members=1)
    model = method.init(problem, key=KEY)
    silent = eqx.tree_at(
        lambda m: (m.field.scale, m.raw["r"]), model, (jnp.zeros((1, 1)), jnp.zeros(1))
    )
    solution = method.finish(silent, problem)
    np.testing.assert_allclose(solution.values(t)[0], y[:, 0], rtol=1e-6)


def test_partly_known_dynamics_forecast_better_than_the_formula():
    t = np.linspace(0, 8, 41)
    field = lambda t, y: [y[1], -1.5 * y[0] - 0.3 * y[1] ** 3]  # noqa: E731
    y = solve_ivp(field, (0, 8), [1.5, 0.0], t_eval=t, rtol=1e-10, atol=1e-10).y.T
    problem = SeriesProblem(
        name="oscillator",
        title="Oscillator",
        variables=("u", "v"),
        time="t",
        series=(Series(name="a", t=t, y=y),),
        split=6.0,
        equation=Equation(
            (
                "u_t = v",
                "v_t = -k*u",
            ),
            (
                "u",
                "v",
            ),
            ("t",),
            ("k",),
        ),
        unknown_parameters={"k": Unknown(start=1.0, lower=0.0, upper=5.0)},
    )
    method = NeuralODE(training=fit_steps(1000), members=2, penalty=0.01, substeps=2)
    solution = method.finish(fit(method, problem, key=KEY).model, problem)
    held_out = t > 6.0
    error = np.abs(solution.values(t).T - y)[held_out].max()
    # Without friction the best oscillator keeps its amplitude and misses by about 0.5.
    assert error < 0.2
    assert 0.5 < solution.parameters["k"].value < 2.5


def test_other_problems_are_refused_with_a_reason():
    support = NeuralODE().supports(object())
    assert not support.ok
    assert "series" in support.reason
