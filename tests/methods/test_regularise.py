"""Regularisers of adaptive solvers: facts of steps, their derivatives, and the draws of places."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.integrate import Continuous, Direct, Euler, Replay, Rodas5P, Semilinear, Tsit5, solve
from continua.integrate.runge_kutta import first_step
from continua.integrate.tableaus import DOPRI5, EULER, RK4, TSIT5
from continua.methods.dynamics import NeuralODE
from continua.methods.dynamics.neural_ode import fit_steps
from continua.methods.dynamics.regularise import (
    KINDS,
    SCOPES,
    SolverRegulariser,
    stable_length,
    step_facts,
)
from continua.problems import Series, SeriesProblem

KEY = jax.random.key(0)
LIMITS = (1e-5, 1e-5)
OPTIONS: dict[str, Any] = {"t0": 0.0, "t1": 2.0, "rtol": 1e-5, "atol": 1e-5}


def field(t, y, a):
    """A smooth field of two numbers."""
    return a * jnp.stack([y[1], -jnp.sin(3 * y[0])]) + jnp.cos(5 * t)


def test_lengths_of_stability():
    np.testing.assert_allclose(stable_length(TSIT5), 3.5068, atol=1e-4)
    np.testing.assert_allclose(stable_length(DOPRI5), 3.3066, atol=1e-4)
    np.testing.assert_allclose(stable_length(RK4), 2.785293563405282, rtol=1e-10)
    assert stable_length(EULER) == pytest.approx(2.0, rel=1e-12)


def test_stiffness_of_linear_fields():
    """`|lambda|` of one number, and between the singular values of a matrix."""
    facts = functools.partial(step_facts, Tsit5(), limits=LIMITS)
    _, found = facts(lambda t, y: -37.0 * y, 0.0, jnp.ones(1), 0.05)
    assert float(found) == pytest.approx(37.0, rel=1e-12)
    matrix = jnp.asarray([[-1.0, 5.0], [0.0, -20.0]])
    _, found = facts(lambda t, y: matrix @ y, 0.0, jnp.ones(2), 0.01)
    assert float(found) == pytest.approx(20.005, abs=5e-3)
    for seed in range(8):
        first, second = jax.random.split(jax.random.key(seed))
        a, y = jax.random.normal(first, (4, 4)), jax.random.normal(second, (4,))
        _, found = facts(lambda t, y, a=a: a @ y, 0.0, y, 0.1)
        sizes = np.linalg.svd(np.asarray(a), compute_uv=False)
        assert sizes[-1] <= float(found) <= sizes[0]


def test_the_error_is_of_order_five():
    """Halving the step divides the error by about 2^5."""
    units = (0.0, 1.0)  # absolute errors, in units of one

    def smooth(t, y):
        return jnp.stack([y[1], -y[0]]) * jnp.cos(0.3 * t)

    errors = [
        float(step_facts(Tsit5(), smooth, 0.0, jnp.asarray([1.0, 0.3]), h, units)[0])
        for h in (0.2, 0.1, 0.05)
    ]
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert ((ratios > 29) & (ratios < 35)).all(), ratios


def test_the_mean_of_the_unbiased_draws_is_the_integral():
    """Against quadrature of `t -> E(t) h(t)` on the polynomial of the solution."""
    regulariser = SolverRegulariser("error", "local_unbiased")
    a, y0 = jnp.asarray(1.3), jnp.asarray([0.5, 0.2])

    @jax.jit
    def drawn(keys):
        def one(key):
            return regulariser.solve(field, Tsit5(), y0=y0, args=a, key=key, **OPTIONS)[1]

        return jax.vmap(one)(keys)

    values = np.concatenate(
        [np.asarray(drawn(keys)) for keys in jax.random.split(KEY, 10_000).reshape(10, 1000)]
    )
    times = np.linspace(0, 2, 2001)
    mid = jnp.asarray((times[1:] + times[:-1]) / 2)
    found = solve(field, Tsit5(), y0=y0, args=a, saveat=mid, **{**OPTIONS, "rtol": 1e-9})

    def at(t, y):
        def flat(t, y):
            return field(t, y, a)

        h = first_step(4, flat, t, y, flat(t, y), 2.0 - t, *LIMITS)
        return step_facts(Tsit5(), flat, t, y, h, LIMITS)[0] * h

    exact = float(jnp.mean(jax.jit(jax.vmap(at))(mid, found.ys)))
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - exact) < 3 * error
    assert error < 0.05 * exact  # so that the line above says something


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_with_place_and_length_held(kind):
    """Against central differences of one step by hand from the state that was drawn."""
    regulariser = SolverRegulariser(kind, "local_biased")
    y0 = jnp.asarray([0.5, 0.2])

    @jax.jit
    @jax.value_and_grad
    def penalty(a):
        given = {"y0": y0, "args": a, "key": KEY, "gradient": Continuous(), **OPTIONS}
        return regulariser.solve(field, Tsit5(), **given)[1]

    found = solve(field, Tsit5(), y0=y0, args=1.3, history=64, **OPTIONS)
    steps, facts = int(found.steps), found.history
    assert facts is not None
    value, slope = penalty(jnp.asarray(1.3))

    @jax.jit
    def by_hand(j, a):
        h = facts.dt[j]
        given = (facts.ts[j], facts.ys[j], h, LIMITS)
        error, stiffness = step_facts(Tsit5(), lambda t, y: field(t, y, a), *given)
        stiffness = stiffness / stable_length(TSIT5)
        return {"error": error * h, "stiffness": stiffness, "both": error * h + 0.1 * stiffness}[
            kind
        ]

    every = np.array([by_hand(j, 1.3) for j in range(steps)])
    j = int(np.argmin(np.abs(every - float(value))))
    np.testing.assert_allclose(every[j], value, rtol=1e-9)
    h = 1e-4
    central = (by_hand(j, 1.3 + h) - by_hand(j, 1.3 - h)) / (2 * h)
    np.testing.assert_allclose(slope, central, rtol=1e-6)


def test_the_global_one_is_the_mean_and_the_maximum_over_the_steps():
    y0 = jnp.asarray([[0.5, 0.2], [1.0, -0.3]])
    given = {"y0": y0, "args": 1.3, "ensemble": True, **OPTIONS}
    found = jax.jit(lambda: solve(field, Tsit5(), history=64, **given))()
    facts, length = found.history, stable_length(TSIT5)
    assert facts is not None
    means, most, both = [], [], []
    for i, n in enumerate(np.asarray(found.steps)):
        error, stiffness = facts.error[i, :n] * facts.dt[i, :n], facts.stiffness[i, :n] / length
        means.append(np.mean(error))
        most.append(np.max(stiffness))
        both.append(np.mean(error + 0.1 * stiffness))
    for kind, exact in zip(KINDS, (means, most, both), strict=True):
        regulariser = SolverRegulariser(kind, "global")
        penalty = jax.jit(lambda r=regulariser: r.solve(field, Tsit5(), key=KEY, **given)[1])()
        np.testing.assert_allclose(penalty, np.mean(exact), rtol=1e-9)


@pytest.mark.parametrize("kind", ["error", "stiffness"])
def test_derivatives_of_the_global_one_are_those_of_forward_mode(kind):
    """One fact alone is asked for backwards, of two trajectories."""
    regulariser = SolverRegulariser(kind, "global")
    y0 = jnp.asarray([[0.5, 0.2], [1.0, -0.3]])

    def penalty(a, gradient):
        given = {"y0": y0, "args": a, "key": KEY, "gradient": gradient, "ensemble": True}
        return regulariser.solve(field, Tsit5(), **given, **OPTIONS)[1]

    a = jnp.asarray(1.3)
    reverse = jax.jit(jax.grad(functools.partial(penalty, gradient=Replay(64))))(a)
    forward = jax.jit(jax.jacfwd(functools.partial(penalty, gradient=Direct())))(a)
    np.testing.assert_allclose(reverse, forward, rtol=1e-9)


def test_states_at_the_starts_of_steps():
    """Forwards and backwards in time, alone, as an ensemble and with steps in common."""
    y0 = jnp.asarray([[0.5, 0.2], [1.0, -0.3]])
    back = {**OPTIONS, "t0": 2.0, "t1": 0.0}
    for options in (OPTIONS, back):
        given = {"args": 1.3, "history": 64, **options}
        alone = jax.jit(lambda g=given: solve(field, Tsit5(), y0=y0[1], **g))()
        many = jax.jit(lambda g=given: solve(field, Tsit5(), y0=y0, ensemble=True, **g))()
        assert alone.history is not None
        np.testing.assert_array_equal(alone.history.ys[0], y0[1])
        np.testing.assert_array_equal(alone.history.ys[int(alone.steps) :], 0.0)
        np.testing.assert_allclose(many.history.ys[1], alone.history.ys, rtol=1e-12, atol=1e-14)
        last = int(alone.steps) - 1
        t, dt, y = (getattr(alone.history, name)[last] for name in ("ts", "dt", "ys"))
        again = Tsit5().step(lambda t, y: field(t, y, 1.3), t, y, field(t, y, 1.3), dt)[0]
        np.testing.assert_allclose(again, alone.ys[-1], rtol=1e-12)
    shared = solve(
        field, Tsit5(), y0=y0, args=1.3, history=8, ensemble=True, shared=True, **OPTIONS
    )
    assert shared.history is not None
    assert shared.history.ys.shape == (2, 8, 2)
    np.testing.assert_array_equal(shared.history.ys[:, 0], y0)


def test_weights():
    ramp = SolverRegulariser(weight=100.0, final_weight=10.0)
    np.testing.assert_allclose([ramp.weight_at(s) for s in (0, 0.5, 1)], [100, 1000**0.5, 10])
    assert SolverRegulariser(weight=0.3).weight_at(0.7) == 0.3


@pytest.mark.parametrize("scope", SCOPES)
def test_a_constant_field_costs_nothing_and_has_a_finite_gradient(scope):
    regulariser = SolverRegulariser("both", scope)

    @jax.jit
    @jax.value_and_grad
    def penalty(a):
        given = {"t0": 0.0, "t1": 1.0, "y0": jnp.zeros(2), "args": a, "key": KEY}
        return regulariser.solve(lambda t, y, a: a + 0 * y, Tsit5(), **given)[1]

    value, slope = penalty(jnp.asarray([1.0, -2.0]))
    assert abs(float(value)) < 1e-7
    assert np.isfinite(np.asarray(slope)).all()


def spiral():
    t = np.linspace(0, 2, 11)
    y = np.exp(-0.3 * t)[:, None] * np.stack([np.cos(4 * t), np.sin(4 * t)], 1)
    return SeriesProblem("spiral", "Spiral", ("x", "y"), "t", (Series("a", t, y),), split=1.5)


def neural(**options):
    options = {"members": 2, "width": 4, "segment": 0, "tolerance": 1e-6, **options}
    return NeuralODE(training=fit_steps(4), **options)


def test_a_neural_ode_without_weight_is_one_without_a_regulariser():
    """Losses, gradients, and states as by fixed steps."""
    problem = spiral()
    plain = neural()
    model = plain.init(problem, key=KEY)
    batch = plain.batches(problem).sample(1, model, key=KEY)

    def run(method):
        return eqx.filter_jit(
            eqx.filter_value_and_grad(lambda m: method.loss(m, batch, key=KEY)[0])
        )(model)

    value, slope = run(plain)
    without = neural(regulariser=SolverRegulariser(weight=0.0))
    for a, b in zip(jax.tree.leaves(run(without)), jax.tree.leaves((value, slope)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    fixed = dataclasses.replace(plain, tolerance=None, substeps=40)
    for a, b in zip(jax.tree.leaves(run(fixed)), jax.tree.leaves((value, slope)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    ramp = SolverRegulariser(weight=1.0, final_weight=0.1)
    with_one = neural(regulariser=ramp)
    loss, parts = eqx.filter_jit(with_one.loss)(model, batch, key=KEY)
    np.testing.assert_allclose(loss - value, ramp.weight_at(batch[1]) * parts["solver"], rtol=1e-6)
    solution = with_one.finish(model, problem)
    assert 0 < solution.stats["accepted_steps"] <= solution.stats["attempted_steps"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SolverRegulariser(kind="eror"), "error"),
        (lambda: SolverRegulariser(scope="locally"), "local"),
        (lambda: SolverRegulariser(weight=-1.0), "0 or more"),
        (lambda: SolverRegulariser(weight=0.0, final_weight=1.0), "positive weights"),
        (lambda: SolverRegulariser(steps=0), "1 or more"),
        (lambda: NeuralODE(regulariser=SolverRegulariser()), "tolerance=1e-5"),
        (lambda: NeuralODE(tolerance=0.0), "1e-5"),
        (lambda: start(SolverRegulariser(), Euler()), "no error estimate"),
        (lambda: start(SolverRegulariser("both"), Rodas5P()), "not explicit"),
        (lambda: start(SolverRegulariser(scope="global"), gradient=Continuous()), "Replay"),
        (lambda: start(SolverRegulariser(), dt0=0.1), "'dt0' is not the caller's"),
        (
            lambda: start(SolverRegulariser(), of=Semilinear(jnp.zeros(2), lambda t, y, a: y)),
            "Semilinear",
        ),
    ],
)
def test_bad_input(make, said):
    with pytest.raises(InputError, match=said):
        make()


def start(regulariser, method=None, of=field, **options):
    given = {"y0": jnp.ones(2), "args": 1.0, "key": KEY, "gradient": Replay(), **OPTIONS, **options}
    return regulariser.solve(of, method or Tsit5(), **given)
