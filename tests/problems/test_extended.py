"""Collocation in extended precision, and the references of ordinary equations by it."""

import dataclasses

import mpmath
import numpy as np
import pytest

from continua import problems
from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems import EquationProblem, OdeReference, exact_mechanics, extended, get

pytestmark = pytest.mark.skipif(
    not extended.AVAILABLE, reason="long doubles are doubles on this machine"
)
BETTER = {
    "lotka_volterra": 1e-15, "lorenz": 1e-15, "van_der_pol": 1e-15, "robertson": 1e-15,
    "hires": 1e-15, "oregonator": 5e-15, "double_pendulum": 1e-15, "henon_heiles": 1e-15,
    "figure_eight": 1e-15, "fitzhugh_nagumo": 1e-15, "sir": 1e-15, "glucose_insulin": 5e-15,
    "roessler": 1e-15, "lorenz96": 1e-15,
}  # fmt: skip
# End value of the Test Set for Initial Value Problem Solvers (Bari).
HIRES = [
    0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4, 0.1175651343283149e-2,
    0.2386356198831331e-2, 0.6238968252742796e-2, 0.2849998395185769e-2, 0.2850001604814231e-2,
]  # fmt: skip


def scalar(field, slope, start, end, size=1.0):
    """One equation, with its start as a guide."""
    return extended.System(
        lambda t, y: np.broadcast_to(field(t, y), y.shape),
        lambda t, y: np.broadcast_to(slope(t, y), y.shape).T[:, :, None],
        np.array([start]),
        0.0,
        end,
        lambda t: np.full((1, len(t)), start),
        np.array([size]),
    )


def initial_value(expression, start="1", end=1.0):
    equation = Equation((f"u_t = {expression}",), ("u",), ("t",))
    return EquationProblem("p", "P", equation, {"t": (0.0, end)}, initial={"u": start})


def test_radaus_rule_of_three_points_is_that_of_the_textbook():
    root = np.sqrt(extended.Extended(6))
    rule = extended.radau(3)
    np.testing.assert_allclose(
        (1 + rule.points) / 2, [(4 - root) / 10, (4 + root) / 10, 1], rtol=4 * extended.EPS
    )
    matrix = [
        [(88 - 7 * root) / 360, (296 - 169 * root) / 1800, (-2 + 3 * root) / 225],
        [(296 + 169 * root) / 1800, (88 + 7 * root) / 360, (-2 - 3 * root) / 225],
        [(16 - root) / 36, (16 + root) / 36, extended.Extended(1) / 9],
    ]
    np.testing.assert_allclose(rule.matrix, matrix, rtol=40 * extended.EPS)


@pytest.mark.parametrize("stages", [3, 14, 16])
def test_rules_are_exact_for_the_polynomials_that_they_should_be(stages):
    rule = extended.radau(stages)
    c = (1 + rule.points) / 2
    for degree in range(2 * stages - 1):
        end = rule.matrix[-1] @ c**degree
        assert abs(end * (degree + 1) - 1) < 50 * extended.EPS
        if degree < stages:
            np.testing.assert_allclose(
                rule.matrix @ c**degree, c ** (degree + 1) / (degree + 1), atol=20 * extended.EPS
            )
    # One degree more is beyond it.
    beyond = abs(rule.matrix[-1] @ c ** (2 * stages - 1) * 2 * stages - 1)
    assert 10 < beyond * 16.0**stages < 1000


def test_decay_keeps_more_digits_than_a_double_has():
    found = extended.solve_extended(
        scalar(lambda t, y: -y, lambda t, y: -1.0, 1.0, 10.0), stages=16, tolerance=1e-17
    )
    assert found is not None
    exact = np.exp(extended.Extended(-10))
    assert abs(found.values[-1, 0, -1] / exact - 1) < 4e-17
    times = np.linspace(0, 10, 77)
    np.testing.assert_allclose(found(times)[0], np.exp(-times), rtol=0, atol=1.2e-16)


def test_a_stiff_equation_is_followed_by_long_steps():
    """The problem of Prothero and Robinson, whose solution `cos(t)` attracts by `1e8`."""
    rate = extended.Extended(1e8)
    found = extended.solve_extended(
        scalar(lambda t, y: -rate * (y - np.cos(t)) - np.sin(t), lambda t, y: -1e8, 1.0, 10.0),
        stages=16,
        tolerance=1e-17,
    )
    assert found is not None
    assert len(found.values) < 60
    times = np.linspace(0, 10, 501)
    np.testing.assert_allclose(found(times)[0], np.cos(times), rtol=0, atol=1.2e-16)


def lorenz_by_series(end, steps, order=30):
    """Taylor series of Lorenz' system in numbers of forty digits."""
    with mpmath.workdps(40):
        h, beta = mpmath.mpf(end) / steps, mpmath.mpf(8 / 3)  # a double, as in the problem
        state = [mpmath.mpf(1)] * 3
        for _ in range(steps):
            x, y, z = ([v] for v in state)
            for k in range(order):
                xz = mpmath.fsum(x[i] * z[k - i] for i in range(k + 1))
                xy = mpmath.fsum(x[i] * y[k - i] for i in range(k + 1))
                new = (10 * (y[k] - x[k]), 28 * x[k] - xz - y[k], xy - beta * z[k])
                for series, value in zip((x, y, z), new, strict=True):
                    series.append(value / (k + 1))
            state = [mpmath.polyval(v[::-1], h) for v in (x, y, z)]
        return np.array([float(v) for v in state])


def test_lorenz_agrees_with_taylor_series_of_forty_digits():
    problem = problems.lorenz()
    np.testing.assert_allclose(problem.reference(10.0), lorenz_by_series(10, 500), rtol=1e-15)


@pytest.mark.parametrize("name", BETTER)
def test_references_are_good_to_the_last_digits(name):
    reference = get(name).reference
    assert isinstance(reference, OdeReference)
    assert 1e-16 < reference.error < BETTER[name]
    assert "extended precision" in reference.evidence


def test_planets_and_pendulums_agree_with_their_closed_forms():
    t = np.linspace(0, 20, 57)
    for problem, exact in (
        (problems.kepler(), exact_mechanics.kepler(t, eccentricity=0.6)),
        (problems.pendulum(), exact_mechanics.pendulum(t, angle=2.0, omega=1.0)),
    ):
        found = OdeReference(dataclasses.replace(problem, reference=None))
        assert found.error < 1e-15
        # The start of the planet is rounded, and so goes a little too fast.
        np.testing.assert_allclose(found.values(t), exact, rtol=0, atol=5e-14)


def test_hires_ends_as_published():
    np.testing.assert_allclose(get("hires").reference(321.8122), HIRES, rtol=3e-11)
    y = get("hires").reference(np.linspace(0, 321.8122, 50))
    np.testing.assert_allclose(y[6] + y[7], 0.0057, rtol=1e-15)


def test_robertson_conserves_mass_to_rounding():
    y = problems.robertson().reference(np.linspace(0, 1e5, 33))
    np.testing.assert_allclose(y.sum(axis=0), 1, rtol=3e-16)


def test_where_the_field_jumps_double_precision_is_left():
    reference = OdeReference(initial_value("sign(t - 0.3)", "0.3"))
    assert "DOP853" in reference.evidence
    np.testing.assert_allclose(reference(1.0), 0.7, rtol=1e-9)


def test_functions_of_double_precision_alone_are_left_to_scipy():
    reference = OdeReference(initial_value("erf(u) - u", "2"))
    assert "DOP853" in reference.evidence
    assert reference.error < 1e-11


def test_without_long_doubles_there_is_double_precision(monkeypatch):
    monkeypatch.setattr(extended, "AVAILABLE", False)
    reference = OdeReference(initial_value("-2*u"))
    assert "DOP853" in reference.evidence
    np.testing.assert_allclose(reference(1.0), np.exp(-2), rtol=1e-11)


def test_a_solution_that_blows_up_is_reported():
    reference = OdeReference(initial_value("u^2", end=2.0))
    with pytest.raises(InputError, match="gets no further than t = "):
        reference(1.5)
