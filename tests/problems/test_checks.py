"""Every mistake in a problem is one line with the place, the cause and the fix."""

import dataclasses

import numpy as np
import pytest

from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems import (
    Condition,
    EquationProblem,
    Measurements,
    Series,
    SeriesProblem,
    Unknown,
    Walls,
)


def value(unknown, text="0"):
    return Condition(unknown, {0: 1.0}, text)


def slope(unknown, text="0"):
    return Condition(unknown, {1: 1.0}, text)


FIELDS = {
    "name": "heat",
    "title": "Heat",
    "equation": Equation(("u_t = k*u_xx",), ("u",), ("t", "x"), ("k",)),
    "domain": {"t": (0.0, 1.0), "x": (0.0, 2.0)},
    "parameters": {"k": 0.1},
    "initial": {"u": "sin(pi*x)"},
    "boundary": {"x": Walls((value("u"),), (value("u"),))},
}


def heat(**changes):
    return EquationProblem(**{**FIELDS, **changes})


def of_order(order, walls):
    derivative = "u_" + "x" * order
    equation = Equation((f"u_t = {derivative}",), ("u",), ("t", "x"))
    return heat(equation=equation, parameters={}, boundary={"x": walls})


def one_line(function, *parts):
    with pytest.raises(InputError) as caught:
        function()
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text, text
    return caught.value


def measured(points, values):
    return Measurements(np.array(points, float), np.array(values, float))


WAVE = Equation(("u_tt = k*u_xx",), ("u",), ("t", "x"), ("k",))
STEADY = Equation(("u_xx = k",), ("u",), ("x",), ("k",))
DATA = measured([[0.5, 1.0]], [[2.0]])
FIXED = Walls((value("u"),), (value("u"),))


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"parameters": {}}, ["parameters", "'k' has no value", "give k a number"]),
        ({"parameters": {"k": 1.0, "kk": 2}}, ["parameters.kk", "did you mean 'k'"]),
        ({"parameters": {"k": "0.1"}}, ["parameters.k", "expected a number"]),
        ({"parameters": {"k": True}}, ["parameters.k", "expected a number"]),
        ({"parameters": {"k": float("nan")}}, ["parameters.k", "not a finite number"]),
        ({"parameters": {"k": float("inf")}}, ["parameters.k", "not a finite number"]),
        (
            {"parameters": {}, "unknown_parameters": {"k": Unknown()}},
            ["parameters.k", "no data to find it", "[data]"],
        ),
        (
            {"unknown_parameters": {"k": Unknown()}, "data": DATA},
            ["parameters.k", "has a value and is unknown"],
        ),
        ({"initial": {}}, ["initial", "no initial value of 'u'", 'add u = "..."']),
        ({"initial": {"u": "sin(q*x)"}}, ["initial.u", "unknown symbol 'q'", "column 5"]),
        ({"initial": {"u": "sin(x"}}, ["initial.u", "never closed"]),
        ({"initial": {"u": "u_x"}}, ["initial.u", "unknown symbol"]),
        ({"initial": {"u": "log(x)"}}, ["initial.u", "not finite at x = 0"]),
        ({"initial": {"u": "sqrt(x - 1)"}}, ["initial.u", "not finite at x = 0"]),
        ({"initial": {"u": "0", "v": "0"}}, ["initial", "'v' takes no initial value"]),
        ({"initial": {"u": "0", "u_t": "0"}}, ["initial", "'u_t' takes no initial value"]),
        ({"equation": WAVE}, ["initial", "'u_t'", "of order 2 in t", 'add u_t = "..."']),
        (
            {"equation": STEADY, "domain": {"x": (0, 1)}},
            ["initial.u", "steady", "remove [initial]"],
        ),
        ({"domain": {"t": (0, 1)}}, ["domain", "'x' has no interval", "add x = [low, high]"]),
        ({"domain": {"t": (0, 1), "x": (0, 0)}}, ["domain.x", "[0, 0] is empty", "low < high"]),
        ({"domain": {"t": (1, 0), "x": (0, 1)}}, ["domain.t", "[1, 0] is reversed"]),
        ({"domain": {"t": (0, 1), "x": (0, np.inf)}}, ["domain.x", "finite"]),
        ({"domain": {"t": (0, 1), "x": "0..1"}}, ["domain.x", "expected two numbers"]),
        ({"domain": {"t": (0, 1), "x": (0, 1, 2)}}, ["domain.x", "expected two numbers"]),
        ({"domain": {"t": (0, 1), "x": (0, 1), "y": (0, 1)}}, ["domain", "'y' is no coordinate"]),
        ({"boundary": {}}, ["boundary", "no boundary condition on 'x'", '"periodic"']),
        ({"boundary": {"x": "reflecting"}}, ["boundary.x", "'reflecting'", '"periodic"']),
        ({"boundary": {"x": 3}}, ["boundary.x", "got int"]),
        ({"boundary": {"x": FIXED, "t": FIXED}}, ["boundary.t", "initial values", "[initial]"]),
        ({"boundary": {"x": FIXED, "y": FIXED}}, ["boundary", "'y' is no space coordinate"]),
        (
            {"boundary": {"x": Walls((value("u"),))}},
            ["boundary.x.upper", "'u' has 0 conditions on the upper wall", 'add u = "0"'],
        ),
        (
            {"boundary": {"x": Walls((value("w"),), (value("u"),))}},
            ["boundary.x.lower", "there is no unknown 'w'", "u"],
        ),
        (
            {"boundary": {"x": Walls((value("u", "q"),), (value("u"),))}},
            ["boundary.x.lower", "unknown symbol 'q'"],
        ),
        (
            {"boundary": {"x": Walls((Condition("u", {2: 1.0}),), (value("u"),))}},
            ["boundary.x.lower", "order 2", "give a lower derivative"],
        ),
        (
            {"boundary": {"x": Walls((Condition("u", {0: 0.0}),), (value("u"),))}},
            ["boundary.x.lower", "all coefficients of 'u' are zero"],
        ),
        ({"num_points": {"x": 1}}, ["grid.x", "whole number of 2 or more"]),
        ({"num_points": {"x": 2.5}}, ["grid.x", "whole number"]),
        ({"num_points": {"z": 9}}, ["grid", "'z' is no coordinate"]),
        ({"data": measured([[0.5]], [[1.0]])}, ["data", "1 columns for 2 coordinates"]),
        ({"data": measured([[0.5, 1]], [[1.0, 2]])}, ["data", "2 columns for 1 unknowns"]),
        (
            {"data": measured([[0.5, 9.0]], [[1.0]])},
            ["data, row 1", "x = 9 lies outside of [0, 2]", "widen domain.x"],
        ),
    ],
)
def test_mistakes_name_their_place_and_their_fix(changes, parts):
    one_line(lambda: heat(**changes), *parts)


@pytest.mark.parametrize(
    ("order", "lower", "upper", "enough"),
    [
        (1, 0, 0, False),
        (1, 1, 0, True),
        (1, 0, 1, True),
        (2, 1, 0, False),
        (2, 1, 1, True),
        (3, 1, 1, False),
        (3, 1, 2, True),
        (4, 2, 1, False),
        (4, 2, 2, True),
    ],
)
def test_an_equation_of_order_m_needs_m_conditions(order, lower, upper, enough):
    both = (value("u"), slope("u"))
    walls = Walls(both[:lower], both[:upper])
    if enough:
        assert of_order(order, walls).boundary["x"] == walls
    else:
        error = one_line(lambda: of_order(order, walls), "boundary.x")
        assert error.fix


def test_too_many_conditions_are_refused():
    both = (value("u"), slope("u"))
    one_line(lambda: of_order(1, Walls(both, ())), "2 conditions", "of order 1 in x")


def test_each_unknown_of_a_system_needs_its_walls():
    equation = Equation(("u_t = u_xx + v", "v_t = v_xx - u"), ("u", "v"), ("t", "x"))
    fields = {**FIELDS, "equation": equation, "parameters": {}, "initial": {"u": "0", "v": "x"}}
    one_line(lambda: EquationProblem(**fields), "boundary.x.lower", "'v' has 0 conditions")
    # An unknown without derivatives in space needs none, and two waves share theirs.
    passive = Equation(("u_t = u_xx + v", "v_t = -u"), ("u", "v"), ("t", "x"))
    EquationProblem(**{**fields, "equation": passive})
    waves = Equation(("u_t = v_x", "v_t = u_x"), ("u", "v"), ("t", "x"))
    EquationProblem(**{**fields, "equation": waves})
    one_line(
        lambda: EquationProblem(**{**fields, "equation": waves, "boundary": {"x": Walls()}}),
        "0 conditions on 'x'",
    )


def test_coefficients_of_conditions_are_formulas_too():
    robin = Condition("u", {0: "k*(1 + t)", 1: 0.5}, "cos(t)")
    heat(boundary={"x": Walls((robin,), (value("u"),))})
    wrong = Condition("u", {0: "h", 1: 0.5})
    one_line(
        lambda: heat(boundary={"x": Walls((wrong,), (value("u"),))}), "lower", "unknown symbol 'h'"
    )
    one_line(lambda: Condition("u", {}), "condition on 'u'", "no coefficients")
    one_line(lambda: Condition("u", {-1: 1.0}), "'-1' is not an order")
    one_line(lambda: Condition("u", {0: None}), "expected a number")


@pytest.mark.parametrize(
    ("points", "values", "part"),
    [
        ([0.5, 1.0], [[1.0]], "1 axes, expected 2"),
        ([[0.5, 1.0]], [[1.0], [2.0]], "1 points and 2 values"),
        ([[0.5, np.nan]], [[1.0]], "data, row 1"),
        ([[0.5, 1.0]], [[np.inf]], "infinite"),
        ([[0.5, 1.0]], [[np.nan]], "no measured value"),
        (np.empty((0, 2)), np.empty((0, 1)), "at least one"),
    ],
)
def test_measurements_are_rows_of_numbers(points, values, part):
    one_line(lambda: measured(points, values), part)


@pytest.mark.parametrize(
    "bounds", [(1.0, 2.0, 3.0), (1.0, 0.0, 0.5), (1.0, 1.0, 1.0), (float("nan"), 0.0, 1.0)]
)
def test_unknowns_start_within_their_bounds(bounds):
    one_line(lambda: Unknown(*bounds), "unknown")


T = np.arange(4.0)


Y = np.stack([T, T], axis=1)


def series(t=T, y=Y, **fields):
    one = Series("one", np.array(t, float), y)
    defaults = {"name": "s", "title": "S", "variables": ("a", "b"), "time": "t", "series": (one,)}
    return SeriesProblem(**{**defaults, **fields})


def test_series_are_checked():
    one_line(lambda: series([0, 1, 1, 2]), "series 'one'", "the time 1 is repeated")
    one_line(lambda: series([0, 2, 1, 3]), "the time 1 is repeated or out of order")
    one_line(lambda: series([0, 1, 2, np.nan]), "must be finite")
    one_line(lambda: series(y=T), "expected (T,) and (T, C)")
    one_line(lambda: series(variables=("a",)), "2 columns for 1 variables")
    one_line(lambda: series(variables=("a", "a")), "named twice")
    one_line(lambda: series(y=np.stack([T, np.nan * T], axis=1)), "'b' holds no number")
    one_line(lambda: series(split=-1.0), "series.split", "the first time is 0")
    one_line(lambda: series(split=np.nan), "series.split", "not a finite number")
    one_line(lambda: series(parameters={"k": 1.0}), "parameters without an equation")
    known = Equation(("a_t = k*b", "c_t = a"), ("a", "c"), ("t",), ("k",), {"b": "1"})
    one_line(lambda: series(equation=known, parameters={"k": 1.0}), "variable 'b' is no unknown")
    heat_equation = FIELDS["equation"]
    one_line(lambda: series(equation=heat_equation), "must be an ordinary differential equation")


def test_series_are_split_in_time():
    problem = series(split=1.5)
    (train,), (later,) = problem.training(), problem.held_out()
    np.testing.assert_array_equal(train.t, [0, 1])
    np.testing.assert_array_equal(later.y, Y[2:])
    whole = dataclasses.replace(problem, split=None)
    assert whole.training() == whole.series
    assert len(whole.held_out()[0].t) == 0
    assert list(problem.evaluation_grid()) == ["t"]
    two = (Series("a", T, Y), Series("b", T + 0.5, Y))
    grid = series(series=two).evaluation_grid()
    np.testing.assert_array_equal(grid["series"], [0, 1])
    np.testing.assert_array_equal(grid["t"], np.arange(8) / 2)


def test_grids_have_their_ends_but_for_periodic_ones():
    grid = heat().evaluation_grid()
    assert [len(axis) for axis in grid.values()] == [51, 128]
    np.testing.assert_array_equal(grid["x"][[0, -1]], [0, 2])
    ring = heat(boundary={"x": "periodic"}, num_points={"x": 10}).evaluation_grid()
    np.testing.assert_allclose(ring["x"], np.arange(10) / 5, atol=1e-15)
    ordinary = EquationProblem("o", "O", Equation(("u_t = u",), ("u",), ("t",)), {"t": (0, 1)},
                               initial={"u": 1})  # fmt: skip
    assert len(ordinary.evaluation_grid()["t"]) == 201
    assert ordinary.initial == {"u": "1.0"}


def test_problems_are_equal_by_content():
    data, again = DATA, measured([[0.5, 1.0]], [[2.0]])
    assert data == again
    assert hash(data) == hash(again)
    assert heat(data=data) == heat(data=again)
    assert heat(data=data) != heat()
    assert heat() != heat(parameters={"k": 0.2})
    assert heat(domain={"x": (0, 2), "t": (0, 1)}) == heat()
    assert len(heat().digest()) == 64
    gaps = measured([[0.0], [1.0]], [[np.nan], [1.0]])
    assert gaps == measured([[0.0], [1.0]], [[-np.nan], [1.0]])
    assert gaps != measured([[0.0], [1.0]], [[0.0], [1.0]])


def test_a_digest_does_not_depend_on_the_process():
    import subprocess
    import sys

    program = "from continua.problems import burgers; print(burgers().digest())"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": "src", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
