"""Ordinary problems: published end values, closed forms, invariants, files, methods."""

import dataclasses

import numpy as np
import pytest

from continua import problems
from continua.core.errors import InputError
from continua.methods import ImplicitRungeKutta, best_classical
from continua.problems import OdeReference, get
from continua.problems.exact_mechanics import kepler, pendulum
from continua.solve import solve

STIFF = ("robertson", "hires", "oregonator", "stiff_linear")
LIGHT = ("pendulum", "kepler", "double_pendulum", "henon_heiles", "figure_eight",
         "fitzhugh_nagumo", "sir", "glucose_insulin", "roessler", "lorenz96")  # fmt: skip


def state(problem, t):
    """Every state of the reference, time derivatives too, `(s, T)`."""
    from continua.problems.numerical import _ode

    return _ode(problem.reference).path(np.asarray(t, float))


# End values of the Test Set for Initial Value Problem Solvers (Bari), to all their digits.
PUBLISHED = {
    "hires": [
        0.7371312573325668e-3, 0.1442485726316185e-3, 0.5888729740967575e-4,
        0.1175651343283149e-2, 0.2386356198831331e-2, 0.6238968252742796e-2,
        0.2849998395185769e-2, 0.2850001604814231e-2,
    ],
    "oregonator": [0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3],
    "pleiades": [
        0.3706139143970502e0, 0.3237284092057233e1, -0.3222559032418324e1, 0.6597091455775310e0,
        0.3425581707156584e0, 0.1562172101400631e1, -0.7003092922212495e0,
        -0.3943437585517392e1, -0.3271380973972550e1, 0.5225081843456543e1,
        -0.2590612434977470e1, 0.1198213693392275e1, -0.2429682344935824e0,
        0.1091449240428980e1,
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "rtol"), [("oregonator", 1e-9), ("pleiades", 3e-11)])
def test_published_end_values(name, rtol):
    problem = get(name)
    end = problem.domain["t"][1]
    np.testing.assert_allclose(problem.reference(end), PUBLISHED[name], rtol=rtol)
    assert problem.reference.error < 1e-8


def test_hires_ends_as_published_by_a_method_of_ours():
    """The reference, by many explicit steps, has these values to 3e-11 too."""
    problem = get("hires")
    solution = solve(problem, ImplicitRungeKutta(rtol=1e-10, atol=1e-14))
    y = solution.values(problem.evaluation_grid()["t"])
    np.testing.assert_allclose(y[:, -1], PUBLISHED["hires"], rtol=1e-8)
    np.testing.assert_allclose(y[6] + y[7], 0.0057, rtol=1e-11)


def test_robertson_at_its_published_end():
    late = problems.robertson(end=1e11)
    published = [0.2083340149701255e-7, 0.8333360770334713e-13, 0.9999999791665050e0]
    np.testing.assert_allclose(late.reference(1e11), published, rtol=1e-9)
    known = problems.robertson().reference([40.0, 1e5])
    # By Radau with tolerances 2e-13 and, in the second row, the conservation of mass.
    exact = [7.158270687194e-01, 9.185534764558e-06, 2.841637457458e-01]
    np.testing.assert_allclose(known[:, 0], exact, rtol=1e-9)
    np.testing.assert_allclose(known.sum(axis=0), 1, rtol=1e-11)


@pytest.mark.parametrize("name", STIFF)
def test_the_method_for_stiff_equations_is_taken(name):
    assert isinstance(best_classical(get(name)), ImplicitRungeKutta)


@pytest.mark.parametrize("name", ["oregonator", "stiff_linear"])
def test_references_are_ten_times_better_than_what_they_judge(name):
    problem = get(name)
    solution = solve(problem, ImplicitRungeKutta())
    assert solution.result.ok
    error = solution.error(problem.reference)["relative_l2"]
    assert error < 1e-7
    assert problem.reference.error < error / 10


@pytest.mark.parametrize("name", LIGHT)
def test_references_are_near_rounding(name):
    problem = get(name)
    assert isinstance(problem.reference, OdeReference) or name in ("pendulum", "kepler")
    assert problem.reference.error < 1e-10
    assert np.all(np.isfinite(problem.reference(problem.evaluation_grid()["t"])))


@pytest.mark.parametrize("angle", [0.1, 2.0, 3.1])
def test_the_pendulum_swings_by_elliptic_functions(angle):
    problem = problems.pendulum(angle=angle, omega=1.3)
    t = np.linspace(0, 20, 57)
    found = OdeReference(dataclasses.replace(problem, reference=None)).values(t)
    np.testing.assert_allclose(found, pendulum(t, angle=angle, omega=1.3), atol=1e-10)


@pytest.mark.parametrize("eccentricity", [0.0, 0.6, 0.9])
def test_planets_follow_keplers_equation(eccentricity):
    problem = problems.kepler(eccentricity=eccentricity)
    t = np.linspace(0, 20, 57)
    found = OdeReference(dataclasses.replace(problem, reference=None)).values(t)
    np.testing.assert_allclose(found, kepler(t, eccentricity=eccentricity), atol=1e-9)
    np.testing.assert_allclose(
        kepler(t + 2 * np.pi, eccentricity=eccentricity),
        kepler(t, eccentricity=eccentricity), atol=1e-12,
    )  # fmt: skip


def double_pendulum_energy(a, a_t, b, b_t):
    g = 9.81
    return a_t**2 + b_t**2 / 2 + a_t * b_t * np.cos(a - b) - g * (2 * np.cos(a) + np.cos(b))


def henon_heiles_energy(x, x_t, y, y_t):
    return (x_t**2 + y_t**2 + x**2 + y**2) / 2 + x**2 * y - y**3 / 3


INVARIANTS = {
    "double_pendulum": double_pendulum_energy,
    "henon_heiles": henon_heiles_energy,
    "sir": lambda s, i, r: s + i - 0.2 * np.log(s) + 0 * r,
}


@pytest.mark.parametrize("name", INVARIANTS)
def test_invariants_stay(name):
    problem = get(name)
    found = INVARIANTS[name](*state(problem, problem.evaluation_grid()["t"]))
    np.testing.assert_allclose(found, found[0], rtol=1e-10)


def test_henon_heiles_has_the_energy_that_it_tells():
    assert henon_heiles_energy(*state(get("henon_heiles"), [0.0])) == pytest.approx(0.125, abs=1e-4)


def test_an_epidemic_peaks_where_it_must():
    problem = get("sir")
    s, i, _ = problem.reference(np.linspace(0, 100, 20001))
    peak = np.argmax(i)
    assert s[peak] == pytest.approx(0.2, abs=1e-3)
    # From the invariant, at s = gamma / beta.
    height = 1 - 0.2 + 0.2 * np.log(0.2 / 0.999)
    assert i[peak] == pytest.approx(height, abs=1e-6)


def test_three_bodies_come_back_after_a_period():
    problem = get("figure_eight")
    first, last = state(problem, problem.domain["t"]).T
    np.testing.assert_allclose(last, first, atol=1e-6)
    x, y = np.split(problem.reference(problem.evaluation_grid()["t"]), 2)
    np.testing.assert_allclose(x.sum(axis=0), 0, atol=1e-10)
    np.testing.assert_allclose(y.sum(axis=0), 0, atol=1e-10)


def test_the_rest_state_of_lorenz_96_and_its_smallest_circle():
    still = problems.lorenz96(size=4, end=0.5)
    start = dict.fromkeys(still.initial, "forcing")
    still = dataclasses.replace(still, initial=start)
    np.testing.assert_allclose(still.reference(0.5), 8.0, rtol=1e-12)
    with pytest.raises(InputError, match="got 3 places"):
        problems.lorenz96(size=3)


def test_the_basal_state_of_glucose_and_insulin_is_at_rest():
    problem = get("glucose_insulin")
    g, _, i = problem.reference(180.0)
    assert 60 < g < 120
    assert i < 30
    still = {"g": "gb", "x": "0", "i": "ib"}
    above = dataclasses.replace(
        problem, parameters={**problem.parameters, "h": 92.0}, initial=still
    )
    np.testing.assert_allclose(above.reference(180.0), [92.0, 0.0, 7.3], atol=1e-9)


def test_a_nerve_fires_with_current_alone():
    firing = get("fitzhugh_nagumo").reference(np.linspace(100, 200, 400))[0]
    resting = problems.fitzhugh_nagumo(current=0.0).reference(np.linspace(100, 200, 400))[0]
    assert np.ptp(firing) > 3
    assert np.ptp(resting) < 0.1
