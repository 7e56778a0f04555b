"""Regularisers of latent equations: steps of stochastic paths, adaptive steps of hidden states."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.integrate.stochastic import SDE, EulerMaruyama, StochasticHeun, brownian
from continua.methods.dynamics import FractionalSDE, LatentODE, LatentSDE, SolverRegulariser
from continua.methods.dynamics.latent import latent_steps
from continua.problems import Series, SeriesProblem

KEY = jax.random.key(0)
LIMITS: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-2}
TIMES = jnp.array([0.0, 0.1, 0.15, 0.4, 0.5, 0.5, 0.5])  # the last steps are none
STATES = jnp.asarray(np.random.default_rng(0).normal(size=(7, 2)))


def noisy(a) -> SDE:
    """Noise that no method takes apart, and a drift that turns."""

    def drift(t, y, args):
        return a * jnp.stack([y[1], -jnp.sin(3 * y[0])]) + jnp.cos(t)

    def diffusion(t, y, args):
        return 0.5 * jnp.array([[1.0, y[0]], [jnp.sin(a * y[1]), 1.0]])

    return SDE(drift, diffusion, "general")


def of_path(scope, a, states=STATES, key=KEY, **options):
    return SolverRegulariser(scope=scope).of_path(
        noisy(a), TIMES, states, key=key, **{**LIMITS, **options}
    )


def test_constant_drift_and_noise_cost_nothing():
    def penalty(a, scope):
        told = SDE(lambda t, y, _: a + 0 * y, lambda t, y, _: 0.3 + a + 0 * y, "additive")
        return SolverRegulariser(scope=scope).of_path(told, TIMES, STATES, key=KEY, **LIMITS)

    for scope in ("local_biased", "global"):
        value, slope = jax.value_and_grad(penalty)(jnp.asarray(0.7), scope)
        assert abs(float(value)) < 1e-12
        assert np.isfinite(float(slope))


def test_a_step_of_heun_by_hand():
    """`dy = -a y dt + c dW`: the stage lacks half of `h (f_1 - f)`."""
    a, c = 2.0, 0.4
    told = SDE(lambda t, y, _: -a * y, lambda t, y, _: c + 0 * y, "additive")
    times, y = jnp.array([0.0, 0.1]), jnp.array([[1.5], [0.0]])
    given = {"key": KEY, "rtol": 0.0, "atol": 1.0, "method": StochasticHeun()}
    found = SolverRegulariser().of_path(told, times, y, **given)
    noise = jax.random.split(KEY)[1]  # the first one says where the step is
    w = brownian.of_cell(brownian.seeds(noise, 0, 1), 0, times[1], area=True).w[0]
    moved = -a * 1.5 * 0.1 + c * w
    np.testing.assert_allclose(found, abs(0.5 * 0.1 * -a * moved) * 0.1, rtol=1e-12)


def test_derivatives_with_the_path_held_and_with_it():
    """The local one is that of the step alone, the global one that of the path too."""
    step = 1e-5

    def moving(a):
        return STATES * (1 + a**2)

    for scope, frozen in (("local_biased", True), ("global", False)):

        def penalty(a, scope=scope):
            return of_path(scope, a, moving(a))

        def shifted(h, scope=scope, frozen=frozen):
            return of_path(scope, 1.3 + h, moving(1.3 if frozen else 1.3 + h))

        slope = jax.grad(penalty)(1.3)
        about = (shifted(step) - shifted(-step)) / (2 * step)
        np.testing.assert_allclose(slope, about, rtol=1e-6)


def test_draws_have_the_mean_of_all_steps():
    """Each step alike, or as long as it is; those without a length never."""
    keys = jax.random.split(KEY, 20_000)
    whole = np.asarray(jax.jit(jax.vmap(lambda k: of_path("global", 1.3, key=k)))(keys))
    single = []
    for j in range(4):
        pair, there = TIMES[j : j + 2], STATES[j : j + 2]

        def alone(key, pair=pair, there=there):
            return SolverRegulariser().of_path(noisy(1.3), pair, there, key=key, **LIMITS)

        single.append(float(np.mean(jax.jit(jax.vmap(alone))(keys[:10_000]))))
    lengths = np.diff(TIMES)[:4]
    expected = {
        "local_biased": np.mean(single),
        "local_unbiased": np.sum(lengths * single) / lengths.sum(),
    }
    assert abs(whole.mean() - expected["local_biased"]) < 0.03 * whole.mean()
    for scope, right in expected.items():
        run = jax.jit(jax.vmap(lambda k, scope=scope: of_path(scope, 1.3, key=k)))
        values = np.asarray(run(keys))
        error = values.std() / np.sqrt(len(values))
        assert values.min() > 0
        assert abs(values.mean() - right) < 3 * error + 0.02 * right
        assert error < 0.02 * right


def waves(count=6, **fields) -> SeriesProblem:
    t = np.linspace(0, 6, 13)
    series = tuple(
        Series(str(i), t, np.sin(t + 0.7 * i)[:, None], np.cos(2 * t)[:, None])
        for i in range(count)
    )
    options = {"inputs": ("c",), "task": "generate", "tested": (0,), **fields}
    return SeriesProblem(
        name="waves", title="Waves", variables=("x",), time="t", series=series, **options
    )


SMALL: dict[str, Any] = {"width": 4, "context": 4, "states": 2, "draws": 4, "batch_size": 4}


def test_adaptive_states_are_those_of_short_steps_inputs_included():
    problem, z = waves(), jnp.array([0.3, -0.5])

    def states(options, begin):
        method = LatentODE(**SMALL, **options)
        model = method.init(problem, key=KEY)
        window = method.batches(problem).sample(0, model, key=KEY)[0]
        each = (window.acting.shape[1] - 1) // (window.node.shape[1] - 1)
        acting, first = window.acting[0, begin * each :], begin * each
        march = jax.jit(lambda: model.march(z, acting, None, key=KEY, begin=first)[0])
        return march()[::each]

    for begin in (0, 5):
        found = [states(o, begin) for o in ({"tolerance": 1e-9}, {"substeps": 16})]
        np.testing.assert_allclose(found[0], found[1], atol=3e-6)


@pytest.mark.parametrize("cls", [LatentODE, LatentSDE])
def test_the_loss_is_that_without_and_the_weighted_cost(cls):
    problem = waves()
    ramp = SolverRegulariser(weight=2.0, final_weight=0.5)
    plain = cls(**SMALL, tolerance=1e-3)
    model = plain.init(problem, key=KEY)
    window, _ = plain.batches(problem).sample(0, model, key=KEY)
    batch = (window, jnp.asarray(0.25))  # of the training, where both weights are known
    first, _ = jax.jit(lambda: plain.loss(model, batch, key=KEY))()
    method = dataclasses.replace(plain, regulariser=ramp)
    with_parts = eqx.filter_value_and_grad(has_aux=True)(lambda m: method.loss(m, batch, key=KEY))
    (loss, parts), slope = eqx.filter_jit(with_parts)(model)
    assert float(parts["solver"]) > 0
    np.testing.assert_allclose(loss - first, ramp.weight_at(0.25) * parts["solver"], rtol=1e-6)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


def test_steps_of_a_noisy_prior_are_counted():
    problem, counts = waves(), []
    for tolerance in (1e-1, 1e-2):
        method = LatentSDE(**SMALL, tolerance=tolerance, training=latent_steps(2))
        model = method.init(problem, key=KEY)
        stats = method.finish(model, problem).stats
        assert stats["attempted_steps"] >= stats["accepted_steps"] > 0
        counts.append(stats["accepted_steps"])
    assert counts[0] < counts[1]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LatentODE(tolerance=0.0), "LatentODE.tolerance: got 0.0"),
        (lambda: LatentSDE(regulariser=SolverRegulariser()), "tolerance=1e-4 too"),
        (lambda: FractionalSDE(tolerance=1e-3).init(waves(), key=KEY), "take LatentSDE"),
        (lambda: of_path("global", 1.0, method=EulerMaruyama()), "EulerMaruyama has no error"),
        (
            lambda: SolverRegulariser("both").of_path(noisy(1.0), TIMES, STATES, key=KEY),
            'take kind="error"',
        ),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(InputError, match=said):
        make()
