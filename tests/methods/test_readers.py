"""Networks that read series whole: one list, every property of every reader."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import continua as ct
from continua.compare import score
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.dynamics.neural_cde import NeuralCDE
from continua.methods.dynamics.reader import reader_steps
from continua.methods.dynamics.recurrent import GRU
from continua.methods.dynamics.sequences import sequence_scaling, sequences_of
from continua.methods.dynamics.stable_sde import GeometricSDE, LangevinSDE, LinearNoiseSDE
from continua.methods.dynamics.state_space import StateSpace
from continua.problems import Series, SeriesProblem

# Small ones, which the toy below can be learned by.
STEPS = reader_steps(60, 1e-2)
SMALL = {"hidden": 8, "training": STEPS}
READERS = {
    "GRU": GRU(width=8, training=reader_steps(60, 1e-2)),
    "GRU-D": GRU(width=8, decay=True, training=reader_steps(60, 1e-2)),
    "S5": StateSpace(width=8, states=8, training=reader_steps(60, 1e-2), dt=(0.02, 0.5)),
    "NeuralCDE": NeuralCDE(width=16, **SMALL),
    "rectilinear": NeuralCDE(control="rectilinear", counts=True, rank=2, width=16, **SMALL),
    "log-signatures": NeuralCDE(control="log_signature", window=3, width=16, **SMALL),
    "LangevinSDE": LangevinSDE(**SMALL),
    "LinearNoiseSDE": LinearNoiseSDE(**SMALL),
    "GeometricSDE": GeometricSDE(counts=True, **SMALL),
}


def sines(count=24, *, seed=0, noise=0.05, **fields) -> SeriesProblem:
    """Slow or fast waves at uneven times, of different length, with gaps."""
    rng = np.random.default_rng(seed)
    series, targets = [], []
    for i in range(count):
        t = np.sort(rng.uniform(0, 4, 14 + i % 4))
        kind = i % 2
        wave = np.sin((1.0 + kind) * t)[:, None] * np.array([1.0, 3.0])
        y = wave + noise * rng.normal(size=(len(t), 2))
        y[rng.random(y.shape) < 0.2] = np.nan
        series.append(Series(str(i), t, y, np.cos(t)[:, None]))
        targets.append("fast" if kind else "slow")
    return SeriesProblem(
        name="sines",
        title="Sines",
        variables=("a", "b"),
        time="t",
        series=tuple(series),
        inputs=("c",),
        **{
            "task": "classify",
            "targets": tuple(targets),
            "tested": tuple(range(count - 8, count)),
            "statics": {"s": tuple(float(i % 3) for i in range(count))},
        }
        | fields,
    )


def test_arrays_stand_still_behind_the_last_row():
    problem = sines()
    scaling = sequence_scaling(problem)
    found = sequences_of(problem, scaling, range(4))
    for i in range(4):
        series, end = problem.series[i], int(found.last[i])
        assert end == len(series.t) - 1
        np.testing.assert_allclose(
            found.times[i, : end + 1], (series.t - series.t[0]) / scaling.duration
        )
        assert np.all(np.diff(found.knots[i]) > 0)
        for part in (found.times[i], found.values[i], found.inputs[i]):
            assert np.all(np.asarray(part[end:]) == np.asarray(part[end]))
        there = np.isfinite(series.y)
        np.testing.assert_array_equal(found.mask[i, : end + 1], there)
        scaled = (series.y - scaling.mean[:2]) / scaling.std[:2]
        np.testing.assert_allclose(np.asarray(found.values[i, : end + 1])[there], scaled[there])
    assert found.path().shape == (4, 17, 4)
    assert found.path(counts=9.0).shape == (4, 17, 6)


def test_what_is_tested_is_not_looked_at():
    problem = sines()
    far = dataclasses.replace(problem.series[-1], y=1e3 + problem.series[-1].y)
    other = dataclasses.replace(problem, series=(*problem.series[:-1], far))
    assert sequence_scaling(other) == sequence_scaling(problem)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_a_toy_is_learned_and_read_back(reader, tmp_path):
    problem = sines()
    solution = ct.solve(problem, reader, key=jax.random.key(1))
    assert solution.result.ok
    errors = score(solution, problem)
    assert errors["error_rate_training"] <= 1 / 16
    assert errors["error_rate_held_out"] <= 2 / 8
    values = solution.values(np.arange(24.0))
    np.testing.assert_allclose(values.sum(axis=0), 1.0, atol=1e-6)
    solution.save(tmp_path)
    again = Solution.load(tmp_path)
    np.testing.assert_array_equal(again.values(np.arange(24.0)), values)
    # Series that the problem does not have: shorter ones, and one that is longer.
    series = [problem.series[i] for i in (3, 20)]
    predicted = again.evaluator.predict(series, [[problem.statics["s"][i]] for i in (3, 20)])
    assert predicted.shape == (2, 2)
    with pytest.raises(InputError, match="give it the same channels in the same order"):
        again.evaluator.predict([Series("z", series[0].t, series[0].y[:, :1])], [[0.0]])


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_padding_and_company_change_nothing(reader):
    problem = sines()
    scaling = sequence_scaling(problem)
    model = reader.network(problem, 2, key=jax.random.key(0))
    key = jax.random.key(5)

    def scores(scaling, numbers):
        rows = reader.arrays(problem, scaling, numbers)
        return jax.vmap(lambda s: model(s, key=key))(rows)

    short = scores(scaling, [0, 1])
    longer = scores(dataclasses.replace(scaling, length=23), [0, 1])
    np.testing.assert_allclose(short, longer, rtol=0, atol=2e-6)
    np.testing.assert_allclose(scores(scaling, [1])[0], short[1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_numbers_are_told_in_their_units(reader):
    targets = tuple(100.0 + 10.0 * (i % 2) for i in range(24))
    problem = sines(task="regress", targets=targets)
    solution = ct.solve(problem, reader, key=jax.random.key(1))
    assert score(solution, problem)["rmse_training"] < 3.0
    assert solution.unknowns == ("target",)


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS.keys())
def test_the_loss_has_the_gradient_that_differences_find(reader):
    problem = sines(count=10)
    model = reader.network(problem, 2, key=jax.random.key(0))
    batch = reader.arrays(problem, sequence_scaling(problem), range(3))
    leaves, structure = jax.tree.flatten(model)
    places = [i for i, x in enumerate(leaves) if jnp.issubdtype(jnp.result_type(x), jnp.floating)]
    directions = {i: jnp.cos(jnp.arange(leaves[i].size)).reshape(leaves[i].shape) for i in places}

    def loss(step):
        moved = [x + step * directions[i] if i in directions else x for i, x in enumerate(leaves)]
        return reader.loss(jax.tree.unflatten(structure, moved), batch, key=jax.random.key(2))[0]

    exact, step = jax.grad(loss)(0.0), 1e-5
    about = (loss(step) - loss(-step)) / (2 * step)
    np.testing.assert_allclose(exact, about, rtol=2e-6, atol=1e-8)


def test_channels_that_tell_nothing_are_named():
    problem = sines()
    flat = [dataclasses.replace(s, y=np.stack([s.y[:, 0], 0 * s.t + 2], 1)) for s in problem.series]
    with pytest.raises(InputError, match="'b' is 2 throughout in the series to learn from"):
        ct.solve(dataclasses.replace(problem, series=tuple(flat)), GRU())
    one = problem.series[0].rows(np.arange(len(problem.series[0].t)) < 1)
    with pytest.raises(InputError, match="series '0': one row, at least 2 are needed"):
        ct.solve(dataclasses.replace(problem, series=(one, *problem.series[1:])), GRU())
