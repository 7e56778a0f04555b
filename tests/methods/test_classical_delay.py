"""Equations with delays: text, exact solutions, order through jumps, what is refused."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

import continua as ct
from continua.core.errors import InputError
from continua.equations import Equation
from continua.methods import DelayRungeKutta, best_classical
from continua.problems import EquationProblem, FormulaReference, parse_toml, to_toml
from continua.problems.delays import breakpoints, delays_of, mesh_of
from continua.problems.solve_delay import DelayReference


def problem(expressions, unknowns, initial, *, horizon=6.0, **options):
    parameters = options.pop("parameters", {})
    return EquationProblem(
        name="late",
        title="Late",
        equation=Equation(expressions, unknowns, "t", tuple(parameters)),
        domain={"t": (0.0, horizon)},
        parameters=parameters,
        initial=initial,
        **options,
    )


# x = sin(t) solves x' = x(t - 3 pi/2) for every history that is sin(t).
SINE = problem(
    "x_t = delay(x, 3*pi/2)",
    "x",
    {"x": "sin(t)"},
    reference=FormulaReference({"x": "sin(t)"}, ("t",)),
)
# Two delays that have no common step, a jump of x' at the start.
TWO = problem(
    "x_t = -delay(x, 1) + delay(x, a)/2 - x^3/10", "x", {"x": "1 + t"}, parameters={"a": 0.5**0.5}
)
# Second order in time, and a delay of the velocity's unknown.
SECOND = problem("x_tt = -delay(x, 0.4) - x_t/2", "x", {"x": "1", "x_t": "0"})


def test_the_text_names_unknown_and_delay():
    assert {n: u for n, (u, _) in TWO.equation.delays.items()} == {
        "delay(x, 1)": "x",
        "delay(x, a)": "x",
    }
    assert delays_of(TWO)["delay(x, a)"] == ("x", 0.5**0.5)
    assert r"x(t - a)" in TWO.equation.latex()
    assert not ct.problems.lorenz().equation.delays


def test_breakpoints_are_sums_of_delays():
    np.testing.assert_allclose(
        breakpoints(0.0, 2.5, [1.0, 0.7], 2), [0.0, 0.7, 1.0, 1.4, 1.7, 2.0, 2.5], atol=1e-15
    )
    mesh = mesh_of(np.array([0.0, 0.7, 1.0]), 0.25)
    assert len(mesh) == 6
    assert np.max(np.diff(mesh)) <= 0.25


@pytest.mark.parametrize("name", ["delayed_feedback", "mackey_glass"])
def test_files(name):
    given = getattr(ct.problems, name)()
    again = parse_toml(to_toml(given), pathlib.Path())
    assert again == given
    assert again.reference == given.reference


def test_feedback_meets_its_polynomials():
    exact = ct.problems.delayed_feedback()
    solution = ct.solve(exact, throw=True)
    assert solution.method == "DelayRungeKutta"
    assert solution.error(exact.reference)["relative_l2"] < 1e-8


def test_the_reference_by_steps_agrees_with_polynomials():
    exact = ct.problems.delayed_feedback()
    by_steps = DelayReference(exact)
    t = np.linspace(0.0, 10.0, 333)
    assert by_steps.error < 1e-11
    np.testing.assert_allclose(by_steps.values(t), exact.reference.values(t), atol=1e-12)


def test_smooth_histories():
    assert ct.solve(SINE).error(SINE.reference)["relative_l2"] < 1e-8


@pytest.mark.parametrize("late", [SINE, TWO, SECOND], ids=["sine", "two", "second"])
def test_order_four_through_all_jumps(late):
    reference = DelayReference(late)
    few = dataclasses.replace(late, num_points={"t": 5}, reference=None)
    errors = [
        ct.solve(few, DelayRungeKutta(steps=steps)).error(reference)["relative_l2"]
        for steps in (8, 32)
    ]
    assert np.log2(errors[0] / errors[1]) > 7.6
    assert errors[1] < 1e-5


def test_chaos_is_followed_for_a_while():
    late = ct.problems.mackey_glass(horizon=100.0)
    solution = ct.solve(late, DelayRungeKutta(tolerance=1e-9), throw=True)
    assert late.reference.error < 1e-10
    assert solution.error(late.reference)["relative_l2"] < 1e-8


def test_delays_in_several_unknowns():
    late = problem(
        ("x_t = delay(y, 1)", "y_t = -delay(x, 2)"), ("x", "y"), {"x": "cos(t)", "y": "t"}
    )
    reference = DelayReference(late)
    errors = ct.solve(late).error(reference)
    assert errors["relative_l2_x"] < 1e-8
    assert errors["relative_l2_y"] < 1e-8


def test_values_between_nodes_and_outside():
    solution = ct.solve(SINE, DelayRungeKutta(steps=64))
    t = np.random.default_rng(0).uniform(0, 6, 100)
    assert np.max(np.abs(solution(t) - np.sin(t))) < 1e-6
    assert np.isnan(solution(7.0))


def test_single_precision():
    solution = ct.solve(SINE, DelayRungeKutta(steps=64), precision="float32")
    assert solution.error(SINE.reference)["relative_l2"] < 1e-5


def test_save_and_load(tmp_path):
    solution = ct.solve(SINE, DelayRungeKutta(steps=8))
    solution.save(tmp_path)
    assert type(solution).load(tmp_path)(2.5) == solution(2.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x_t = delay(x)", "delay takes an unknown and a time"),
        ("x_t = delay(2*x, 1)", "delay takes an unknown and a time"),
        ("x_t = delay(x, t)", "a delay is a number or an expression in parameters"),
        ("x_t = delay(x, x)", "a delay is a number or an expression in parameters"),
    ],
)
def test_messages(text, message):
    with pytest.raises(InputError) as caught:
        Equation(text, "x", "t")
    assert message in str(caught.value)


def test_no_delays_in_space():
    with pytest.raises(InputError, match="belongs to an ordinary equation"):
        Equation("u_t = delay(u, 1) + u_xx", "u", ("t", "x"))


@pytest.mark.parametrize("length", ["0", "-1"])
def test_delays_are_positive(length):
    late = problem(f"x_t = delay(x, {length})", "x", {"x": "1"}, reference=None)
    with pytest.raises(InputError, match="give a positive delay"):
        ct.solve(late, DelayRungeKutta())


def test_who_takes_delays():
    assert isinstance(best_classical(SINE), DelayRungeKutta)
    for method in (ct.methods.RungeKutta(), ct.methods.ImplicitRungeKutta()):
        assert "takes no delays" in method.supports(SINE).reason
    assert "takes no delays" in ct.methods.PINN().supports(SINE).reason
    assert "needs an ordinary equation" in DelayRungeKutta().supports(ct.problems.heat()).reason
    with pytest.raises(InputError, match="the equation has delays"):
        ct.problems.damped(ct.problems.delayed_feedback(), 0.1)
    with pytest.raises(InputError, match=r"DelayRungeKutta.steps"):
        DelayRungeKutta(steps=0)


def test_a_solution_that_blows_up_says_when():
    late = problem("x_t = delay(x, 0.1)*x^2", "x", {"x": "1"}, horizon=3.0)
    solution = ct.solve(late, DelayRungeKutta(steps=4))
    assert not solution.result.ok
    assert "diverged at t = " in str(solution.result)


def test_the_program_maps_over_parameters():
    from continua.methods.classical.delay import delay_program

    program, inputs, _ = delay_program(TWO, 8)
    history = {**inputs, "start": inputs["start"] + np.linspace(0, 1, 3)[:, None]}
    axes = {k: 0 if k == "start" else None for k in inputs}
    ys, _ = jax.vmap(program, in_axes=(axes,))(history)
    one, _ = program(inputs)
    np.testing.assert_allclose(ys[0], one, atol=1e-14)
