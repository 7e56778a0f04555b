"""Events of problems: the bouncing ball, problem files, mistakes."""

import dataclasses
import pathlib

import numpy as np
import pytest

from continua.core.errors import InputError
from continua.equations import Equation
from continua.methods import RK4, ImplicitRungeKutta, RungeKutta, best_classical
from continua.problems import EquationProblem, damped, parse_toml, to_toml
from continua.problems.events import EventCondition
from continua.problems.exact_mechanics import bouncing_ball as exact_ball
from continua.problems.library.bouncing import bouncing_ball
from continua.problems.numerical import numerical_reference
from continua.solve import solve


def test_the_exact_ball_bounces_from_peak_to_peak():
    height, r, g = 1.3, 0.7, 9.81
    fall = np.sqrt(2 * height / g)
    peak = fall * (1 + r)  # of the first bounce, and after it those of the others
    tops = [peak]
    for k in range(2, 5):
        tops.append(tops[-1] + fall * (r ** (k - 1) + r**k))
    found = exact_ball(np.array([0.0, fall, *tops, 99.0]), g=g, height=height, r=r)[0]
    expected = [height, 0, *(height * r ** (2 * k) for k in range(1, 5)), 0]
    np.testing.assert_allclose(found, expected, atol=1e-14)


@pytest.mark.parametrize("restitution", [0.8, 1.0])
def test_runge_kutta_bounces_as_the_ball_does(restitution):
    problem = bouncing_ball(restitution=restitution)
    assert isinstance(best_classical(problem), RungeKutta)
    solution = solve(problem, RungeKutta(rtol=1e-10, atol=1e-12))
    assert solution.result.ok
    # Parabolas are exact for the method, and so are the events.
    assert solution.error(problem.reference)["relative_l2"] < 1e-11


def test_a_thermostat_switches_both_ways():
    equation = Equation(("u_t = -u + 2*p", "p_t = 0"), ("u", "p"), ("t",))
    events = (
        EventCondition("off", "u - 1.5", {"p": "0"}, 1),
        EventCondition("on", "u - 0.5", {"p": "1"}, -1),
    )
    problem = EquationProblem(
        "thermostat", "T", equation, {"t": (0.0, 6.0)}, initial={"u": "1", "p": "1"}, events=events
    )
    u, p = solve(problem, RungeKutta(rtol=1e-9, atol=1e-11)).values(problem.evaluation_grid()["t"])
    assert 0.5 - 1e-8 < u.min() < 0.52
    assert 1.48 < u.max() < 1.5 + 1e-8
    assert set(np.unique(p)) == {0.0, 1.0}
    off = np.log(2)  # from 1 towards 2, until 1.5
    assert p[np.searchsorted(problem.evaluation_grid()["t"], off)] == 0
    assert numerical_reference(problem) is None


def test_events_come_back_from_files_and_count_in_comparisons():
    problem = bouncing_ball()
    again = parse_toml(to_toml(problem), pathlib.Path())
    assert again == problem
    assert getattr(again, "events", None) == problem.events
    assert getattr(again, "reference", None) == problem.reference
    bare = dataclasses.replace(problem, reference=None)
    assert dataclasses.replace(bare, events=()) != bare


def test_changes_of_variables_refuse_events():
    with pytest.raises(InputError, match="damped: the problem has events"):
        damped(bouncing_ball(), -0.5)


@pytest.mark.parametrize("method", [RK4(), ImplicitRungeKutta()])
def test_other_methods_say_that_they_find_none(method):
    assert "finds no events, RungeKutta does" in str(method.supports(bouncing_ball()).reason)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition": "z"}, "events.e.condition.*unknown symbol 'z'"),
        ({"condition": "y_tt"}, "events.e.condition.*'y_tt' holds a derivative that is no state"),
        ({"resets": {"v": "0"}}, "events.e.resets: there is no state 'v'"),
        ({"resets": {"y": "h*y"}}, "events.e.resets.y.*unknown symbol 'h'"),
        ({"direction": 2}, "events.e.direction: got 2"),
    ],
)
def test_mistakes_name_the_event(change, message):
    known = {"name": "e", "condition": "y", "resets": {}, "direction": 0}
    with pytest.raises(InputError, match=message):
        dataclasses.replace(
            bouncing_ball(), reference=None, events=(EventCondition(**{**known, **change}),)
        )
