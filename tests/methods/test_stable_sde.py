"""Stable stochastic equations: exact laws, strong order, limits without noise, conditions."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from continua.core.errors import InputError
from continua.core.precision import precision
from continua.methods.dynamics.neural_sde import NaiveNeuralSDE
from continua.methods.dynamics.rollout import rollout
from continua.methods.dynamics.sequences import sequence_scaling
from continua.methods.dynamics.stability import stability_of
from continua.methods.dynamics.stable_sde import (
    Drift,
    GeometricSDE,
    LangevinSDE,
    LinearNoiseSDE,
    Noise,
    StableField,
    StochasticNetwork,
    Track,
    trajectory,
)
from continua.nets import MLP, Linear
from tests.methods.test_readers import sines

A, S = -0.5, 0.8
FORMS = {"langevin": LangevinSDE, "linear": LinearNoiseSDE, "geometric": GeometricSDE}


class Rate(eqx.Module):
    """`g = a z^p`."""

    a: Array
    power: Array

    def ahead(self, t, x):
        return jnp.zeros(0)

    def after(self, z, ahead):
        return self.a * jnp.sign(z) * jnp.abs(z) ** self.power


class Level(eqx.Module):
    """`s`, the same at all times."""

    s: Array

    def __call__(self, t):
        return self.s


def field(kind, a=A, s=S, power=1.0, size=1) -> StableField:
    rate = Rate(jnp.asarray(a), jnp.asarray(power))
    return StableField(rate, Level(jnp.full(size, s)), kind, False)


def ends(kind, steps, paths, a=A, s=S, start=1.0, T=1.0, seed=0) -> Array:
    """The last states of many paths."""
    times, x = jnp.linspace(0, T, steps + 1), jnp.zeros((steps + 1, 1))
    one = field(kind, a, s, 0.0 if kind == "geometric" else 1.0)
    keys = jax.random.split(jax.random.key(seed), paths)

    @eqx.filter_jit
    def run(one, keys):
        path = lambda k: trajectory(one, jnp.full(1, start), times, x, key=k)[-1, 0]  # noqa: E731
        return jax.vmap(path)(keys)

    return run(one, keys)


def test_geometric_motion_is_exact_and_euler_is_of_order_one_half():
    errors = []
    for steps in (16, 64, 256):
        z = np.asarray(ends("geometric", steps, 2000))
        euler = np.asarray(ends("linear", steps, 2000))
        w = (np.log(z) - (A - S**2 / 2)) / S
        # Both take the noise of the same key: W is that of a Brownian motion at 1.
        assert abs(np.var(w) - 1) < 3 * np.sqrt(2 / 2000)
        errors.append(np.sqrt(np.mean((euler - np.exp((A - S**2 / 2) + S * w)) ** 2)))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:]) / 2
    assert np.all((slopes > 0.4) & (slopes < 0.65))
    np.testing.assert_allclose(errors, [0.0884, 0.0456, 0.0246], rtol=0.1)


def test_the_geometric_logarithm_takes_any_noise_exactly():
    times = jnp.asarray([0.0, 0.1, 0.7, 0.7, 2.0])
    one, x = field("geometric", power=0.0), jnp.zeros((5, 1))
    key = jax.random.key(4)
    z = trajectory(one, jnp.full(1, 0.3), times, x, key=key)[:, 0]
    langevin = trajectory(field("langevin", 0.0, 1.0), jnp.zeros(1), times, x, key=key)[:, 0]
    np.testing.assert_allclose(z, 0.3 * np.exp((A - S**2 / 2) * times + S * langevin), rtol=1e-13)
    assert z[2] == z[3]  # equal times repeat the state


@pytest.mark.parametrize("steps", [1, 7])
def test_geometric_states_stay_above_zero(steps):
    assert float(jnp.min(ends("geometric", steps, 2000, s=3.0, T=5.0))) > 0
    assert float(jnp.min(ends("linear", steps, 2000, s=3.0, T=5.0))) < 0


def test_langevin_variance():
    k, s, steps, paths = 1.5, 0.8, 100, 100_000
    z = np.asarray(ends("langevin", steps, paths, a=-k, s=s, start=0.0))
    h = 1 / steps
    euler = s**2 * h * (1 - (1 - k * h) ** (2 * steps)) / (1 - (1 - k * h) ** 2)
    exact = s**2 * (1 - np.exp(-2 * k)) / (2 * k)
    assert abs(euler / exact - 1) < 0.01
    assert abs(np.var(z) - euler) < 3 * euler * np.sqrt(2 / paths)
    assert abs(np.mean(z)) < 3 * np.sqrt(euler / paths)


def test_linear_noise_second_moment():
    k, s, steps, paths = 1.0, 0.6, 100, 100_000
    squares = np.asarray(ends("linear", steps, paths, a=-k, s=s, start=2.0)) ** 2
    h = 1 / steps
    euler = 4 * ((1 - k * h) ** 2 + s**2 * h) ** steps
    assert abs(euler / (4 * np.exp(s**2 - 2 * k)) - 1) < 0.01
    assert abs(np.mean(squares) - euler) < 3 * np.std(squares) / np.sqrt(paths)


@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("kind", FORMS)
def test_noise_acts_on_its_own_component(kind, clip):
    noise = Noise(4, key=jax.random.key(0))
    one = dataclasses.replace(field(kind), s=noise, clip=clip)
    z, t = jnp.asarray([0.5, 1.0, 2.0, 3.0]), jnp.asarray(0.3)
    jacobian = np.asarray(jax.jacfwd(one.diffusion, argnums=1)(t, z))
    diagonal = np.diag(jacobian)
    np.testing.assert_array_equal(jacobian, np.diag(diagonal))
    assert np.all(diagonal == 0) if kind == "langevin" else np.all(diagonal > 0)
    far = one.diffusion(t, 1e6 * z)
    assert np.all(np.abs(far) <= 1.0) == (kind == "langevin" or (kind == "linear" and clip))
    # Noise starts at about a tenth, and no component is dead.
    assert np.all((noise(t) > 0.01) & (noise(t) < 1.0))


@pytest.mark.parametrize("kind", FORMS)
def test_without_noise_it_is_the_ordinary_equation(kind):
    drift = Drift(2, 3, 2, timed=kind != "langevin", clip=True, key=jax.random.key(1))
    one = StableField(drift, Level(jnp.zeros(3)), kind, True)
    z0, x = jnp.asarray([0.5, 1.0, 0.2]), jnp.asarray([0.3, -0.7])
    exact = rollout(lambda t, z: one.drift(t, z, x), jnp.linspace(0.0, 2.0, 33), z0, 2)[-1]
    errors = []
    for steps in (64, 128):
        times, path = jnp.linspace(0.0, 2.0, steps + 1), jnp.tile(x, (steps + 1, 1))
        run = jax.jit(lambda t, x: trajectory(one, z0, t, x, key=jax.random.key(0))[-1])
        end = run(times, path)
        errors.append(float(jnp.max(jnp.abs(end - exact))))
    assert errors[1] < 0.02
    assert 0.9 < np.log2(errors[0] / errors[1]) < 1.1


@pytest.mark.parametrize("timed", [True, False])
def test_the_drift_is_the_composition_of_its_maps(timed):
    g = Drift(2, 3, 1, timed=timed, clip=True, key=jax.random.key(1))
    z, x, t = jnp.asarray([0.5, 1.0, 0.2]), jnp.asarray([0.3, -0.7]), jnp.asarray(0.9)
    clock = [jnp.sin(t)[None], jnp.cos(t)[None]] if timed else []
    assert g.scale is not None
    u = g.inner(jnp.concatenate([*clock, z]))
    exact = g.scale * jnp.tanh(g.mlp(g.joined(jnp.concatenate([u, g.embed(x)]))))
    np.testing.assert_allclose(g.after(z, g.ahead(t, x)), exact, atol=1e-14)
    moved = g.after(z, g.ahead(t + 1, x))
    assert (np.abs(moved - exact).max() > 1e-3) == timed


def network_of(reader, problem):
    return eqx.filter_jit(lambda key: reader.network(problem, 2, key=key))(jax.random.key(0))


def scores_of(model):
    return jax.jit(lambda rows, key: jax.vmap(lambda s: model(s, key=key))(rows))


def test_a_series_is_still_behind_its_last_row_in_single_precision():
    with precision("float32"):
        reader, problem = LinearNoiseSDE(hidden=8), sines()
        model = network_of(reader, problem)
        scaling = dataclasses.replace(sequence_scaling(problem), length=40)
        rows = reader.arrays(problem, scaling, range(4))
        keys = jax.random.split(jax.random.key(1), 4)
        states = jax.jit(jax.vmap(lambda s, k: model.states(s, key=k)))(rows, keys)
        for one, last in zip(np.asarray(states), np.asarray(rows.last), strict=True):
            assert np.all(np.isfinite(one))
            assert np.all(one[last:] == one[last])
            assert np.all(np.ptp(one[: last + 1], axis=0) > 0)


@pytest.mark.parametrize("reader", [*(cls(hidden=6) for cls in FORMS.values())], ids=FORMS)
def test_noise_is_a_function_of_the_key(reader):
    problem = sines()
    run = scores_of(network_of(reader, problem))
    rows = reader.arrays(problem, sequence_scaling(problem), range(3))
    first = run(rows, jax.random.key(0))
    np.testing.assert_array_equal(run(rows, jax.random.key(0)), first)
    assert np.all(np.abs(run(rows, jax.random.key(1)) - first) > 1e-9)


def test_the_plain_equation_sees_the_first_row_alone():
    problem = sines()
    reader = NaiveNeuralSDE(hidden=6)
    run = scores_of(network_of(reader, problem))

    def changed(first: bool):
        rows = [np.arange(len(s.t))[:, None] for s in problem.series]
        pick = [(r == 0) if first else (r > 0) for r in rows]
        series = tuple(
            dataclasses.replace(s, y=np.where(p, np.nan_to_num(s.y) + 1.0, np.nan_to_num(s.y)))
            for s, p in zip(problem.series, pick, strict=True)
        )
        return dataclasses.replace(problem, series=series)

    plain = dataclasses.replace(
        problem,
        series=tuple(dataclasses.replace(s, y=np.nan_to_num(s.y)) for s in problem.series),
    )
    scaling = sequence_scaling(plain)

    def told(other):
        return run(reader.arrays(other, scaling, range(3)), jax.random.key(0))

    np.testing.assert_array_equal(told(changed(False)), told(plain))
    assert np.all(np.abs(told(changed(True)) - told(plain)) > 1e-9)


def measured(kind, horizon=1.0, rows=11, **values):
    """The report of a model with a field of powers."""
    one = field(kind, size=3, **values)
    key = jax.random.key(0)
    model = StochasticNetwork(
        Linear(1, 3, key=key), one, MLP(3, 2, key=key), horizon, kind == "geometric"
    )
    times = jnp.linspace(0.0, 1.0, rows)[None]
    series = Track(times, jnp.ones((1, rows, 1)), jnp.zeros((1, 0)), jnp.asarray([rows - 1]),
                   jnp.zeros(1))  # fmt: skip
    return stability_of(model, series)


def values_of(report) -> dict:
    return {c.name.split()[0]: c.value for c in (*report.needed, *report.lasting)}


def test_conditions_of_stability_are_those_of_linear_equations():
    k, s, h = 2.0, 0.5, 0.1
    report = measured("linear", a=-k, s=s)
    found = {c.name: c for c in (*report.needed, *report.lasting)}
    assert report.ok
    assert all(c.holds for c in report.lasting)
    np.testing.assert_allclose(found["largest noise |s|"].value, s)
    np.testing.assert_allclose(found["Euler step h |df/dz|"].value, h * k, rtol=1e-6)
    moment = found["mean square of a step (1 - k h)^2 + s^2 h"].value
    np.testing.assert_allclose(moment, (1 - k * h) ** 2 + s**2 * h, rtol=1e-6)
    rate = found["mean square 2 z.f / |z|^2 + s^2"].value
    np.testing.assert_allclose(rate, s**2 - 2 * k, rtol=1e-6)
    # Noise that outweighs the drift, and steps that are too long for it.
    assert not any(c.holds for c in measured("linear", a=-0.1, s=0.5).lasting)
    assert not measured("linear", a=-k, s=s, horizon=12.0).ok
    np.testing.assert_allclose(values_of(measured("langevin", a=-k, s=s))["dissipation"], -k)
    np.testing.assert_allclose(
        values_of(measured("geometric", a=-0.3, s=s, power=0.0))["almost"], -0.3 - s**2 / 2
    )


def test_a_cubic_drift_is_not_stable():
    report = measured("langevin", a=-1.0, power=3.0)
    assert not report.ok
    assert "power of |z| with which the drift grows far out: 3, not below 1.05" in str(report)
    assert str(report).startswith("langevin: not stable on its series\n")


@pytest.mark.parametrize("kind", FORMS)
def test_models_report_their_conditions(kind):
    reader, problem = FORMS[kind](hidden=6), sines()
    report = reader.check_stability(network_of(reader, problem), problem)
    assert report.form == kind
    noise, growth, *_ = report.needed
    assert noise.limit == 1.0
    assert noise.holds
    assert growth.holds
    assert len(report.lasting) == (2 if kind == "linear" else 1)


def test_bad_values_are_named():
    with pytest.raises(InputError, match=r"LangevinSDE.hidden: got 0; give 1 or more"):
        LangevinSDE(hidden=0)
    with pytest.raises(InputError, match=r"GeometricSDE.horizon: got 0; give a positive time"):
        GeometricSDE(horizon=0.0)
    with pytest.raises(InputError, match=r"NaiveNeuralSDE.draws: got 0; give 1 or more"):
        NaiveNeuralSDE(draws=0)
