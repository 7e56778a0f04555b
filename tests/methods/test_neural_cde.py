"""Neural controlled equations: exact controls, steps of known order, and what looks ahead."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.integrate.controlled import HermiteControl, log_signature_control
from continua.methods.dynamics.neural_cde import (
    CONTROLS,
    STEPS,
    ControlCoding,
    ControlledNetwork,
    NeuralCDE,
    driven,
    read_along,
)
from continua.methods.dynamics.reader import Told
from continua.methods.dynamics.recurrent import GRU
from continua.methods.dynamics.sequences import sequence_scaling, sequences_of
from continua.nets import Fixed
from tests.methods.test_readers import sines


def coding(control="hermite", steps="rk4", substeps=1, window=4, depth=2) -> ControlCoding:
    return ControlCoding(control, False, window, depth, steps, substeps)


def path(rows=12, channels=3, seed=0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    knots = jnp.asarray(np.cumsum(rng.uniform(0.5, 1.5, rows)) / rows)
    values = jnp.asarray(np.cumsum(0.5 * rng.normal(size=(rows, channels)), axis=0))
    return knots, jnp.concatenate([knots[:, None], values], axis=1)


class Constant(eqx.Module):
    """`F(z) = M`."""

    matrix: Array

    def __call__(self, z, rate):
        return self.matrix @ rate


def exponential(z, rate):
    """`dz = z dX_1`."""
    return z * rate[1]


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("substeps", [1, 3])
@pytest.mark.parametrize("control", ["hermite", "linear", "rectilinear"])
def test_a_constant_field_takes_the_increment_exactly(control, substeps, steps):
    knots, x = path()
    rates = coding(control, steps, substeps).rates(knots, x, 11)
    matrix = jnp.asarray(np.random.default_rng(1).normal(size=(5, 4)))
    z0 = jnp.arange(5.0)
    end = driven(Constant(matrix), z0, rates, steps)[-1]
    np.testing.assert_allclose(end, z0 + matrix @ (x[-1] - x[0]), rtol=0, atol=2e-14)


@pytest.mark.parametrize(("steps", "order"), [("ralston", 2), ("rk4", 4)])
@pytest.mark.parametrize("control", ["hermite", "linear", "rectilinear"])
def test_the_exponential_of_the_path_with_the_order_of_the_steps(control, steps, order):
    knots, x = path()
    exact = np.exp(float(x[-1, 1] - x[0, 1]))
    errors = []
    for substeps in (16, 32):
        rates = coding(control, steps, substeps).rates(knots, x, 11)
        end = jax.jit(lambda r: driven(exponential, jnp.ones(1), r, steps)[-1, 0])(rates)
        errors.append(abs(float(end) / exact - 1))
    assert errors[1] < (5e-8 if steps == "rk4" else 2e-4)
    assert order - 0.1 < np.log2(errors[0] / errors[1]) < order + 0.5


def test_hermite_slopes_are_those_of_the_control():
    knots, x = path()
    control = HermiteControl(knots, x)
    rates = coding("hermite", "rk4").rates(knots, x, 11)
    for i in range(11):
        h = knots[i + 1] - knots[i]
        for s, u in enumerate((0.0, 0.5, 0.5, 1.0 - 1e-13)):
            exact = h * control.derivative(knots[i] + u * h)
            np.testing.assert_allclose(rates[i, s], exact, rtol=1e-7, atol=1e-10)


def test_log_signatures_are_those_of_the_windows():
    knots, x = path(rows=14)
    rates = jax.jit(coding("log_signature", "ralston", window=4).rates)(knots, x, 13)
    control = log_signature_control(knots, x, 4, 2)
    assert rates.shape == (4, 2, 4 + 6)
    np.testing.assert_allclose(rates[:, 0], np.diff(control.xs, axis=0), atol=1e-13)
    np.testing.assert_array_equal(rates[:, 0], rates[:, 1])


def model_of(reader, problem):
    return eqx.filter_jit(lambda key: reader.network(problem, 2, key=key))(jax.random.key(3))


@pytest.mark.parametrize("control", CONTROLS)
def test_time_is_a_channel_and_the_first_row_is_seen(control):
    problem = sines()
    reader = NeuralCDE(control=control, hidden=6, width=8, window=4)
    model = model_of(reader, problem)

    def changed(**fields):
        series = tuple(
            dataclasses.replace(s, **{k: f(getattr(s, k)) for k, f in fields.items()})
            for s in problem.series
        )
        return dataclasses.replace(problem, series=series)

    scaling, run = sequence_scaling(problem), jax.jit(jax.vmap(model))

    def scores(other):
        return np.asarray(run(reader.arrays(other, scaling, (0, 1))))

    before = scores(problem)
    # Another speed along the same values, and another level of all of them, are both seen.
    assert np.abs(scores(changed(t=lambda t: t**2 / t[-1])) - before).max() > 1e-5
    assert np.abs(scores(changed(y=lambda y: y + 0.5)) - before).max() > 1e-3
    # What comes before the first row is not.
    np.testing.assert_allclose(scores(changed(t=lambda t: t + 7.0)), before, atol=1e-9)


@pytest.mark.parametrize("control", ["hermite", "linear", "rectilinear"])
def test_states_at_rows_know_what_came_before_alone(control):
    problem = sines()
    whole = tuple(dataclasses.replace(s, y=np.nan_to_num(s.y)) for s in problem.series)
    gaps = problem if control == "rectilinear" else dataclasses.replace(problem, series=whole)
    reader = NeuralCDE(control=control, hidden=6, width=8, substeps=2)
    model = model_of(reader, gaps)
    scaling = sequence_scaling(gaps)
    rows = reader.arrays(gaps, scaling, (0, 1))
    run = jax.jit(jax.vmap(model.along))
    along = run(rows)
    assert along.shape == (2, 17, 2)
    np.testing.assert_allclose(along[:, -1], jax.vmap(model)(rows), atol=1e-12)
    late = tuple(
        dataclasses.replace(s, y=np.where(np.arange(len(s.t))[:, None] > 8, s.y + 1, s.y))
        for s in gaps.series
    )
    other = run(reader.arrays(dataclasses.replace(gaps, series=late), scaling, (0, 1)))
    np.testing.assert_allclose(other[:, :9], along[:, :9], rtol=0, atol=1e-13)
    assert np.all(np.abs(other[:, 9] - along[:, 9]) > 1e-6)


def test_straight_lines_through_gaps_look_ahead_and_last_values_do_not():
    problem = sines()
    scaling = sequence_scaling(problem)
    sequence = sequences_of(problem, scaling, [0])
    straight, held = sequence.path(straight=True)[0], sequence.path()[0]
    mask = np.asarray(sequence.mask[0]) > 0
    np.testing.assert_array_equal(
        np.asarray(straight)[:, 1:3][mask], np.asarray(held)[:, 1:3][mask]
    )
    t, there = np.asarray(sequence.knots[0]), mask[:, 1]
    exact = np.interp(t, t[there], np.asarray(sequence.values[0])[there, 1])
    np.testing.assert_allclose(straight[:, 2], exact, atol=1e-12)
    counted = sequence.path(counts=scaling.rows)[0, :, -2:]
    np.testing.assert_allclose(counted[-1], mask.sum(axis=0) / scaling.rows)


def test_a_field_of_rank_is_the_product():
    problem = sines()
    model = model_of(NeuralCDE(hidden=6, width=8, rank=2), problem)
    z, rate = jnp.linspace(-1, 1, 6), jnp.linspace(0, 1, 4)
    raw = np.tanh(np.asarray(model.mlp(z)))
    left, right = raw[:12].reshape(6, 2), raw[12:].reshape(2, 4)
    np.testing.assert_allclose(model.field(z, rate), left @ right @ rate / 2, atol=1e-14)


def untrained(reader, problem) -> Solution:
    """A solution by a network as it starts."""
    model, scaling = model_of(reader, problem), sequence_scaling(problem)
    told = Told(model, Fixed(jnp.zeros((24, 2))), scaling, 1, getattr(reader, "coding", None))
    return Solution(reader.name, problem.outputs, ("series",), problem.evaluation_grid(), told)


def test_reading_along(tmp_path):
    problem = sines()
    reader = NeuralCDE(control="rectilinear", counts=True, hidden=4, width=4)
    untrained(reader, problem).save(tmp_path)
    again = Solution.load(tmp_path)
    series = [problem.series[i] for i in (3, 20)]
    statics = [[problem.statics["s"][i]] for i in (3, 20)]
    along = read_along(again, series, statics)
    assert [len(a) for a in along] == [len(s.t) for s in series]
    np.testing.assert_allclose(np.concatenate(along).sum(axis=1), 1.0, atol=1e-6)
    ends = np.stack([a[-1] for a in along])
    np.testing.assert_allclose(ends, again.evaluator.predict(series, statics), atol=1e-6)
    with stopwatch() as clock:
        read_along(again, series, statics)
        again.evaluator.predict(series, statics)
    assert clock.compile == 0  # while rows come in
    # A series that is cut short has been told the same up to its end.
    short = series[0].rows(np.arange(len(series[0].t)) < 9)
    np.testing.assert_allclose(read_along(again, [short], statics[:1])[0], along[0][:9], atol=1e-6)


def test_bad_values_are_named():
    with pytest.raises(
        InputError, match=r"NeuralCDE.control: got 'hermit'; did you mean 'hermite'"
    ):
        NeuralCDE(control="hermit")
    with pytest.raises(InputError, match=r"NeuralCDE.steps: got 'euler'; known: ralston, rk4"):
        NeuralCDE(steps="euler")
    with pytest.raises(InputError, match=r"NeuralCDE.substeps: got 0; give 1 or more"):
        NeuralCDE(substeps=0)
    with pytest.raises(InputError, match="expected 1, 2 or 3"):
        NeuralCDE(log_depth=4)
    problem = sines()
    windows = untrained(NeuralCDE(control="log_signature", hidden=2, width=2), problem)
    with pytest.raises(InputError, match='train with control="rectilinear"'):
        read_along(windows, [problem.series[0]], [[0.0]])
    with pytest.raises(InputError, match="GRU has no state at every row; use NeuralCDE"):
        read_along(untrained(GRU(width=2), problem), [], [])


def test_networks_are_of_the_sizes_asked_for():
    model = model_of(NeuralCDE(control="log_signature", hidden=5, width=7), sines())
    assert isinstance(model, ControlledNetwork)
    # Time, two variables, an input: 4 channels and 6 areas.
    assert model.mlp.layers[-1].weight.shape == (5 * 10, 7)
