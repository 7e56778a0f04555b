"""Lagrange's equations: closed forms, any Lagrangian, energy, derivatives, and a pendulum."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.methods.dynamics import NeuralODE
from continua.methods.dynamics.fields import Lagrangian, field_of, states_of_form
from continua.methods.dynamics.neural_ode import fit_steps
from continua.methods.dynamics.observations import Scaling
from continua.methods.dynamics.rollout import rollout
from continua.problems import Series, SeriesProblem
from continua.train import fit

KEY = jax.random.key(0)
GRAVITY = 9.81


def test_a_harmonic_oscillator():
    """`m = 2, k = 5` in units of the data: positions by 3, velocities by 4, from 1."""
    field = Lagrangian(
        lambda q: jnp.full((1, 1), 2.0 * 4.0**2),
        lambda q: 5.0 * jnp.sum((3.0 * q) ** 2) / 2,
        (4.0 / 3.0,),
        (1.0 / 4.0,),
    )
    z = jnp.array([0.7, -0.4])
    x, v = 3.0 * z[0], 4.0 * z[1] + 1.0
    np.testing.assert_allclose(field(0.0, z), [v / 3.0, -5.0 / 2.0 * x / 4.0], rtol=1e-13)


def double_pendulum(q, v):
    """Accelerations of two unit masses on unit rods, the textbook's formula."""
    (a, b), (va, vb), g, d = q, v, GRAVITY, q[0] - q[1]
    below = 3 - np.cos(2 * d)
    first = -3 * g * np.sin(a) - g * np.sin(a - 2 * b)
    first -= 2 * np.sin(d) * (vb**2 + va**2 * np.cos(d))
    second = 2 * np.sin(d) * (2 * va**2 + 2 * g * np.cos(a) + vb**2 * np.cos(d))
    return np.array([first, second]) / below


def test_a_double_pendulum():
    """Its mass changes with the angles; states are scaled, velocities are not centred."""
    mean, std = np.array([0.3, -0.2, 0.5, -1.0]), np.array([1.5, 0.7, 2.0, 3.0])
    size = jnp.asarray(std[2:])

    def mass(z):
        q = z * std[:2] + mean[:2]
        c = jnp.cos(q[0] - q[1])
        return size[:, None] * jnp.array([[2.0, c], [c, 1.0]]) * size

    def potential(z):
        q = z * std[:2] + mean[:2]
        return -GRAVITY * (2 * jnp.cos(q[0]) + jnp.cos(q[1]))

    motion = (std[2:] / std[:2], mean[2:] / std[2:])
    field = Lagrangian(mass, potential, *(tuple(x.tolist()) for x in motion))
    for seed in range(5):
        y = np.random.default_rng(seed).normal(size=4)
        slope = field(0.0, jnp.asarray((y - mean) / std)) * std
        np.testing.assert_allclose(slope[:2], y[2:], atol=1e-12)
        np.testing.assert_allclose(slope[2:], double_pendulum(y[:2], y[2:]), rtol=0, atol=1e-10)


def network(size: int, **options) -> Lagrangian:
    scaling = Scaling((0.0,) * 2 * size, (1.0,) * 2 * size, False)
    field = field_of(
        "lagrangian", scaling, np.linspace(0.5, 2.0, 2 * size), width=8, depth=2, key=KEY, **options
    )
    assert isinstance(field, Lagrangian)
    # Far from where it begins, so that the mass is no unit matrix.
    return eqx.tree_at(
        lambda f: f.mass.network.layers[-1].weight,
        field,
        2.0 * jax.random.normal(KEY, field.mass.network.layers[-1].weight.shape),
    )


def test_accelerations_are_those_of_its_lagrangian_by_plain_derivatives():
    field = network(3)
    z, rates = jax.random.normal(jax.random.key(1), (6,)), jnp.asarray(field.rates)
    q, v = z[:3], z[3:]
    # In the time derivatives of `q` themselves, w = r v.
    plain = lambda q, w: field.lagrangian(q, w / rates)  # noqa: E731
    w = rates * v
    inertia = jax.hessian(plain, 1)(q, w)
    turned = jax.jacfwd(jax.grad(plain, 1), 0)(q, w) @ w
    expected = jnp.linalg.solve(inertia, jax.grad(plain)(q, w) - turned)
    np.testing.assert_allclose(rates * field(0.0, z)[3:], expected, rtol=1e-9)
    for seed in range(20):
        far = 5 * jax.random.normal(jax.random.key(seed), (3,))
        assert np.linalg.eigvalsh(np.asarray(field.mass(far)))[0] > 0


def test_energy_is_kept_up_to_the_error_of_the_steps():
    field, times = network(2), jnp.linspace(0, 4, 9)
    start = jnp.array([0.5, -0.4, 0.3, 0.6])
    assert abs(jax.grad(field.energy)(start) @ field(0.0, start)) < 1e-13
    gaps = []
    for substeps in (20, 40):
        states = jax.jit(functools.partial(rollout, field, times, start, substeps))()
        energies = jax.vmap(field.energy)(states)
        gaps.append(float(jnp.abs(energies - energies[0]).max()))
    assert gaps[1] < 1e-4
    assert gaps[0] / gaps[1] > 12  # of the steps alone, whose order is 4 or 5 here


def test_derivatives_through_a_trajectory_are_those_of_differences():
    field, times = network(2), jnp.linspace(0, 1, 3)
    leaves, structure = jax.tree.flatten(eqx.filter(field, eqx.is_inexact_array))
    rest = eqx.filter(field, eqx.is_inexact_array, inverse=True)

    @jax.jit
    def end(step):
        moved = [x + step * jnp.cos(jnp.arange(float(x.size))).reshape(x.shape) for x in leaves]
        there = eqx.combine(jax.tree.unflatten(structure, moved), rest)
        return jnp.sum(rollout(there, times, jnp.array([0.5, -0.4, 0.3, 0.6]), 4)[-1] ** 2)

    slope, step = jax.grad(end)(0.0), 1e-5
    about = (end(step) - end(-step)) / (2 * step)
    np.testing.assert_allclose(slope, about, rtol=1e-6)


def pendulum(variables=("q", "q_t"), split=8.0, noise=0.01) -> SeriesProblem:
    """`q'' = -sin q` from 1.5, one evaluation and a half to learn from, five times that held
    out."""
    t = np.linspace(0, 48, 193)
    y = solve_ivp(lambda t, y: [y[1], -np.sin(y[0])], (0, 48), [1.5, 0], t_eval=t, rtol=1e-9).y.T
    y = y + noise * np.random.default_rng(0).standard_normal(y.shape)
    columns = [("q", "q_t").index(v) for v in variables]
    series = (Series("a", t, y[:, columns]),)
    return SeriesProblem("pendulum", "Pendulum", variables, "t", series, split=split)


@pytest.fixture(scope="module")
def learned():
    """Root mean square errors of forecasts over five times the time of the training."""
    found = {}
    for name, variables, form in (
        ("first", ("q", "q_t"), "first"),
        ("measured", ("q", "q_t"), "lagrangian"),
        ("hidden", ("q",), "lagrangian"),
    ):
        problem = pendulum(variables)
        method = NeuralODE(members=1, width=8, substeps=2, form=form, training=fit_steps(800))
        solution = method.finish(fit(method, problem, key=KEY).model, problem)
        (held,) = problem.held_out()
        error = np.sqrt(np.mean((solution.values(held.t)[0] - held.y[:, 0]) ** 2))
        found[name] = (error, solution)
    return found


def test_a_pendulum_is_forecast_far_beyond_its_training(learned, tmp_path):
    errors = {name: error for name, (error, _) in learned.items()}
    assert errors["measured"] < 0.5 * errors["first"]
    assert errors["hidden"] < 0.5 * errors["first"]
    _, solution = learned["hidden"]
    save_tree(tmp_path / "model", solution)
    t = np.linspace(0, 48, 7)
    np.testing.assert_array_equal(load_tree(tmp_path / "model").values(t), solution.values(t))
    # A free run of five times the training stays on a level of the learned energy.
    forecast = solution.evaluator
    field = jax.tree.map(lambda x: x[0], forecast.model.field)
    states = np.asarray(forecast.values.value)[0, 0][np.asarray(forecast.times.value)[0] > 8]
    energies = np.asarray(jax.vmap(field.energy)(jnp.asarray(states)))
    rest = float(field.potential(jnp.zeros(1)))
    assert np.ptp(energies) / abs(energies.mean() - rest) < 2e-2


def test_velocities_are_known_by_their_names():
    assert states_of_form(("x", "x_t", "y"), "lagrangian", 0) == ("x", "y", "x_t", "y_t")
    assert states_of_form(("x_t",), "second", 0) == ("x_t", "x_t_t")
    method = NeuralODE(form="second", members=1, width=4)
    model = method.init(pendulum(), key=KEY)
    field, scaling = jax.tree.map(lambda x: x[0], model.field), model.scaling
    y = np.array([0.3, -0.7])
    slope = field(0.0, jnp.asarray(scaling.encode(y)))
    np.testing.assert_allclose(slope[0] * scaling.std[0], y[1], rtol=1e-12)


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="energy of this form"):
        NeuralODE(form="lagrangian", positive=True)
    problem = pendulum(("q", "q_t"))
    (series,) = problem.series
    more = Series("a", series.t, np.concatenate([series.y, series.y[:, :1]], axis=1))
    odd = SeriesProblem("odd", "Odd", ("q", "q_t", "q_t_t"), "t", (more,), split=8.0)
    told = NeuralODE(form="lagrangian").supports(odd)
    assert "must be a state of the form 'lagrangian'" in told.reason
