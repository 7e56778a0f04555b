"""Changed problems: residuals vanish where they did, references and files follow."""

import dataclasses
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from continua.core.errors import InputError
from continua.problems import (
    FormulaReference,
    OdeReference,
    advection,
    burgers,
    get,
    heat,
    parse_toml,
    poisson,
    to_toml,
    van_der_pol,
)
from continua.problems.mutate import ChangedReference, coupled, damped, rescaled

SCALES = st.floats(0.3, 3.0)
NAMES = ("heat", "advection", "poisson", "kdv", "van_der_pol", "burgers", "stiff_linear")


def points(problem, count=7):
    rng = np.random.default_rng(1)
    return [rng.uniform(*problem.domain[c], count) for c in problem.equation.coordinates]


def residual(problem, function, at):
    """`left - right` of a function of one point `(d,)` to `(c,)`."""
    return np.asarray(
        problem.equation.residual(function, jnp.stack(at, axis=-1), dict(problem.parameters))
    )


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(NAMES), SCALES, SCALES, SCALES)
def test_residuals_are_those_of_the_old_variables(name, a, s, r):
    problem = get(name)
    unknowns, coordinates = problem.equation.unknowns, problem.equation.coordinates
    scales = dict(zip(coordinates, (s, r), strict=False))
    new = rescaled(problem, unknowns=dict.fromkeys(unknowns, a), coordinates=scales)
    stretch = jnp.array([scales[c] for c in coordinates])

    def old(point):  # any smooth function will do
        phase = jnp.sum(point * jnp.arange(1.0, len(coordinates) + 1))
        return jnp.stack([jnp.sin(phase + i) + 0.3 * phase for i in range(len(unknowns))])

    at = points(problem)
    wanted = residual(problem, old, at)
    found = residual(
        new,
        lambda p: a * old(p / stretch),
        [x * float(k) for x, k in zip(at, stretch, strict=True)],
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["heat", "advection", "poisson", "burgers", "kdv"]), SCALES, SCALES)
def test_references_of_rescaled_problems_are_the_scaled_ones(name, a, s):
    problem = get(name)
    (unknown,) = problem.equation.unknowns
    axis = problem.equation.coordinates[-1]
    new = rescaled(problem, unknowns={unknown: a}, coordinates={axis: s})
    at = points(problem)
    scaled = [*at[:-1], at[-1] * s]
    np.testing.assert_allclose(new.reference(*scaled), a * problem.reference(*at), rtol=1e-10)
    again = parse_toml(to_toml(new), pathlib.Path("."), "again")
    assert again == new
    back = rescaled(new, unknowns={unknown: 1 / a}, coordinates={axis: 1 / s})
    np.testing.assert_allclose(back.reference(*at), problem.reference(*at), rtol=1e-9)


def test_a_rescaled_oscillator_solved_anew_is_the_scaled_one():
    new = rescaled(van_der_pol(), unknowns={"u": 0.5}, coordinates={"t": 0.1})
    t = np.linspace(0, 2, 21)
    solved = OdeReference(dataclasses.replace(new, reference=None)).values(t)
    np.testing.assert_allclose(solved, new.reference.values(t), atol=1e-10)
    assert new.initial == {"u": "1", "u_t": "0"}
    other = dataclasses.replace(new, initial={"u": "2", "u_t": "0"})
    assert isinstance(other.reference, OdeReference)


@pytest.mark.parametrize("make", [heat, advection])
def test_a_linear_equation_gains_a_linear_term(make):
    problem, rate = make(), -0.7
    new = damped(problem, rate)
    assert new.equation.is_linear
    assert not any("exp" in text for text in new.equation.expressions)
    t, x = points(problem)
    np.testing.assert_allclose(new.reference(t, x), np.exp(rate * t) * problem.reference(t, x))
    assert new.reference.error >= problem.reference.error


def test_a_nonlinear_equation_gains_coefficients_in_time():
    problem, rate = burgers(), 0.4
    new = damped(problem, rate)

    def old(point):
        return jnp.sin(point[1:] + 2 * point[0])

    at = points(problem)
    wanted = np.exp(rate * at[0])[:, None] * residual(problem, old, at)
    found = residual(new, lambda p: jnp.exp(rate * p[0]) * old(p), at)
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_two_oscillators_are_mixed():
    second = dataclasses.replace(van_der_pol(mu=1.0), name="other")
    new = coupled(van_der_pol(mu=2.0), second)
    assert new.parameters == {"mu1": 2.0, "mu2": 1.0}
    t = np.linspace(0, 20, 15)
    solved = OdeReference(dataclasses.replace(new, reference=None)).values(t)
    np.testing.assert_allclose(solved, new.reference.values(t), atol=1e-9)
    again = parse_toml(to_toml(new), pathlib.Path("."), "again")
    assert again == new


def test_two_fields_are_mixed():
    first = advection()
    new = coupled(first, dataclasses.replace(first, parameters={"c": 2.0}), angle=1.0)
    assert isinstance(new.reference, ChangedReference)

    def exact(point):
        t, x = point
        return jnp.sin(x - t), jnp.sin(x - 2 * t)

    def mixed(point):
        u, w = exact(point)
        return jnp.stack([np.cos(1.0) * u - np.sin(1.0) * w, np.sin(1.0) * u + np.cos(1.0) * w])

    np.testing.assert_allclose(residual(new, mixed, points(new)), 0, atol=1e-12)


def test_mistakes_are_told():
    with pytest.raises(InputError, match="'v' is not among the unknowns"):
        rescaled(heat(), unknowns={"v": 2.0})
    with pytest.raises(InputError, match="is zero"):
        rescaled(heat(), unknowns={"u": 0.0})
    with pytest.raises(InputError, match="a scale is negative"):
        rescaled(heat(), coordinates={"t": -1.0})
    with pytest.raises(InputError, match="not of first order"):
        damped(van_der_pol(), 1.0)
    with pytest.raises(InputError, match="the two differ"):
        coupled(heat(), van_der_pol())
    with pytest.raises(InputError, match="not of first order"):
        damped(poisson(), 1.0)
    assert isinstance(heat().reference, FormulaReference)
