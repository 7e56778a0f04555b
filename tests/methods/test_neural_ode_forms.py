"""Neural ODEs of second order, of Hamilton's form, and with hidden states."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.compare import score
from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.equations import Equation
from continua.methods.dynamics import NeuralODE
from continua.methods.dynamics.fields import field_of
from continua.methods.dynamics.neural_ode import fit_steps
from continua.methods.dynamics.observations import Scaling
from continua.methods.dynamics.rollout import rollout
from continua.problems import Series, SeriesProblem
from continua.train import fit

KEY = jax.random.key(0)
RATE = np.array([1.0, 2.0, 0.5, 1.5])


def pendulum(variables=("q", "p"), split=10.0, noise=0.01):
    """`q' = p, p' = -sin q`, half an evaluation forecast."""
    t = np.linspace(0, 20, 81)
    y = solve_ivp(lambda t, y: [y[1], -np.sin(y[0])], (0, 20), [1.5, 0], t_eval=t, rtol=1e-9).y.T
    y = y + noise * np.random.default_rng(0).standard_normal(y.shape)
    columns = [("q", "p").index(v) for v in variables]
    series = (Series("a", t, y[:, columns]),)
    return SeriesProblem("pendulum", "Pendulum", variables, "t", series, split=split)


def test_a_hamiltonian_flow_keeps_its_energy_and_volume():
    scaling = Scaling((0.0,) * 4, (1.0, 2.0, 3.0, 0.5), False)
    field = field_of("hamiltonian", scaling, RATE, width=8, depth=2, key=KEY)
    z = jax.random.normal(jax.random.key(1), (4,))
    assert abs(np.trace(jax.jacfwd(lambda z: field(0.0, z))(z))) < 1e-13
    assert abs(jax.grad(field.energy)(z) @ field(0.0, z)) < 1e-14

    def energy(y):  # in the units of the data, in which the equations are Hamilton's
        return field.energy(y / jnp.asarray(scaling.std))

    std = jnp.asarray(scaling.std)
    y = z * std
    rates = std * field(0.0, z)
    gradient = jax.grad(energy)(y)
    half = jnp.concatenate([gradient[2:], -gradient[:2]])
    np.testing.assert_allclose(rates / half, float((rates / half)[0]), rtol=1e-12)

    even = Scaling((0.0,) * 2, (1.0, 1.0), False)
    field = field_of("hamiltonian", even, RATE[:2], width=8, depth=2, key=KEY)
    times, start = jnp.linspace(0, 20, 21), jnp.array([1.0, -0.5])
    gaps = []
    for substeps in (4, 8):
        states = rollout(field, times, start, substeps)
        energies = jax.vmap(field.energy)(states)
        gaps.append(float(jnp.abs(energies - energies[0]).max()))
    assert gaps[1] < 1e-4
    assert gaps[0] / gaps[1] > 12  # of the steps alone, whose order is 4 or 5 here


def test_positions_move_by_their_velocities():
    scaling = Scaling((0.0,) * 4, (1.0, 2.0, 1.0, 1.0), False)
    field = field_of("second", scaling, RATE, width=8, depth=1, key=KEY)
    z = jax.random.normal(KEY, (4,))
    np.testing.assert_allclose(field(0.0, z)[:2], RATE[:2] * z[2:], rtol=1e-14)


@pytest.fixture(scope="module")
def learned():
    """Errors of forecasts of the pendulum, by form."""
    found = {}
    for name, variables, options in (
        ("first", ("q",), {}),
        ("second", ("q",), {"form": "second"}),
        ("augment", ("q",), {"augment": 1}),
        ("hamiltonian", ("q", "p"), {"form": "hamiltonian", "grow": 0.5}),
    ):
        problem = pendulum(variables)
        method = NeuralODE(members=1, substeps=2, training=fit_steps(800), **options)
        solution = method.finish(fit(method, problem, key=KEY).model, problem)
        found[name] = (score(solution, problem)["normalised_rmse_held_out"], solution)
    return found


def test_positions_alone_are_forecast_with_hidden_states(learned):
    assert learned["first"][0] > 0.5  # one state on a line cannot swing
    assert learned["second"][0] < 0.2
    assert learned["augment"][0] < 0.2


def test_an_energy_is_learned(learned, tmp_path):
    error, solution = learned["hamiltonian"]
    assert error < 0.05
    model = solution.evaluator.model
    field = jax.tree.map(lambda x: x[0], model.field)
    # The forecast, a free run of one and a half periods, stays on a level of its energy.
    states = model.scaling.encode(solution.values(np.linspace(10, 20, 41)).T)
    energies = jax.vmap(field.energy)(jnp.asarray(states))
    rest = field.energy(jnp.asarray(model.scaling.encode(np.zeros(2))))
    assert float(jnp.ptp(energies) / jnp.abs(energies.mean() - rest)) < 2e-3
    save_tree(tmp_path / "model", solution)
    again = load_tree(tmp_path / "model")
    t = np.linspace(0, 20, 7)
    np.testing.assert_array_equal(again.values(t), solution.values(t))


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match="'seconds'.*second"):
        NeuralODE(form="seconds")
    with pytest.raises(InputError, match="augment"):
        NeuralODE(form="second", augment=1)
    with pytest.raises(InputError, match="positive"):
        NeuralODE(form="hamiltonian", positive=True)
    with pytest.raises(InputError, match="grow"):
        NeuralODE(grow=0.0)
    told = NeuralODE(form="hamiltonian").supports(pendulum(("q",)))
    assert "as many momenta" in told.reason
    equation = Equation(("q_t = -q",), ("q",), ("t",))
    formula = dataclasses.replace(pendulum(("q",)), equation=equation)
    assert "states of the formula" in NeuralODE(augment=1).supports(formula).reason
