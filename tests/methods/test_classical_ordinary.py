"""Runge-Kutta methods behind the interface of all methods."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.precision import precision
from continua.core.results import ResultCode
from continua.core.solution import Solution
from continua.methods.classical.choose import best_classical
from continua.methods.classical.implicit import ImplicitRungeKutta
from continua.methods.classical.runge_kutta import RK4, RungeKutta, stiffness
from continua.problems import Measurements, Unknown, get
from continua.solve import solve
from tests.methods.classical_problems import line, ordinary

KEY = jax.random.key(0)
LORENZ = ("x_t = 10*(y - x)", "y_t = x*(28 - z) - y", "z_t = x*y - 8*z/3")


def computed(method, problem):
    prepared = method.prepare(problem, key=KEY)
    return prepared.finish(jax.jit(prepared.program)(prepared.inputs))


def lorenz(horizon):
    start = {"x": "1", "y": "1", "z": "1"}
    return ordinary(LORENZ, horizon, start, ("x", "y", "z"), times=41)


def dop853(times):
    def field(t, y):
        x, y, z = y
        return [10 * (y - x), x * (28 - z) - y, x * y - 8 * z / 3]

    options = {"method": "DOP853", "rtol": 1e-13, "atol": 1e-13}
    return solve_ivp(field, (0, times[-1]), [1.0, 1.0, 1.0], t_eval=times, **options).y


def test_lorenz_agrees_with_an_independent_solver():
    problem = lorenz(10.0)
    t = problem.evaluation_grid()["t"]
    exact = dop853(t)
    gaps = []
    for rtol in (1e-8, 1e-12):
        solution = computed(RungeKutta(rtol=rtol, atol=rtol / 100), problem)
        assert solution.result.code == ResultCode.success
        gaps.append(np.max(np.abs(solution.values(t) - exact)))
    assert gaps[0] < 1e-4  # Lorenz amplifies by about 1e4 in this time
    assert gaps[1] < 1e-8


def test_values_between_frames_are_as_good_as_at_frames():
    problem = lorenz(2.0)
    t = np.linspace(0.0, 2.0, 777)
    solution = computed(RungeKutta(), problem)
    np.testing.assert_allclose(solution.values(t), dop853(t), atol=1e-5)
    assert np.isnan(solution.values(2.5)).all()


@pytest.mark.parametrize("method", [RungeKutta(), RK4(), ImplicitRungeKutta()], ids=str)
def test_higher_order_in_time_with_parameters(method):
    problem = ordinary(
        "u_tt + 2*c*u_t + u = sin(2*t)", 3.0, {"u": "1", "u_t": "c - 1"}, parameters={"c": 0.25}
    )
    t = problem.evaluation_grid()["t"]
    exact = solve_ivp(
        lambda t, y: [y[1], np.sin(2 * t) - 0.5 * y[1] - y[0]],
        (0, 3),
        [1.0, -0.75],
        t_eval=t,
        method="DOP853",
        rtol=1e-12,
        atol=1e-12,
    ).y[0]
    solution = computed(method, problem)
    np.testing.assert_allclose(solution(t), exact, atol=1e-6)
    assert solution.stats["evaluations"] > solution.stats["steps"] > 0


def test_fixed_steps_are_chosen_or_given():
    problem = ordinary("u_t = -u", 1.0, {"u": "1"}, times=11)
    solution = computed(RK4(steps=40), problem)
    assert solution.stats["steps"] == 40
    assert solution.stats["evaluations"] == 161
    t = np.linspace(0.0, 1.0, 55)
    errors = [np.max(np.abs(computed(RK4(steps=n), problem)(t) - np.exp(-t))) for n in (20, 40)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(4.0, abs=0.1)
    chosen = computed(RK4(tolerance=1e-10), problem)
    assert np.max(np.abs(chosen(t) - np.exp(-t))) < 1e-9


def test_a_solution_survives_a_file(tmp_path):
    problem = ordinary("u_t = -u", 1.0, {"u": "1"})
    solution = computed(RungeKutta(), problem)
    solution.save(tmp_path)
    t = np.linspace(0.0, 1.0, 13)
    np.testing.assert_array_equal(Solution.load(tmp_path)(t), solution(t))


@pytest.mark.parametrize(
    "method", [RungeKutta(), RK4(steps=2000), ImplicitRungeKutta()], ids=lambda m: m.name
)
def test_a_blow_up_is_a_result_with_advice(method):
    problem = ordinary(("u_t = -u", "v_t = v^2"), 3.0, {"u": "1", "v": "1"}, ("u", "v"))
    solution = computed(method, problem)
    assert solution.result.code in (ResultCode.diverged, ResultCode.step_limit)
    assert not solution.result.ok
    assert "step" in solution.result.message
    assert "t = " in solution.result.message
    if solution.result.code == ResultCode.diverged:
        assert "in v" in solution.result.message
    assert solution.result.advice
    early = solution.values(problem.evaluation_grid()["t"][:5])
    np.testing.assert_allclose(early[0], np.exp(-problem.evaluation_grid()["t"][:5]), atol=1e-5)
    assert np.isnan(solution.values(2.9)).all()


def test_stiff_problems_go_to_the_implicit_method():
    text = ("u_t = -1e5*(u - v)", "v_t = -v")
    stiff = ordinary(text, 2.0, {"u": "2", "v": "1"}, ("u", "v"))
    assert stiffness(stiff) == pytest.approx(2e5, rel=1e-2)
    assert isinstance(best_classical(stiff), ImplicitRungeKutta)
    solution = computed(ImplicitRungeKutta(), stiff)
    t = np.linspace(0.1, 2.0, 20)
    exact = np.exp(-t) / (1 - 1e-5)
    np.testing.assert_allclose(solution.values(t)[0], exact, atol=1e-7)
    # All eight stages are counted.
    assert solution.stats["evaluations"] > 7 * solution.stats["steps"]
    easy = ordinary("u_t = -u", 2.0, {"u": "1"})
    assert isinstance(best_classical(easy), RungeKutta)


def test_a_stiff_solution_is_as_exact_as_its_tolerance():
    """Robertson's reactions, their values at 40 from a Radau method at 1e-13."""
    text = ("a_t = -0.04*a + 1e4*b*c", "b_t = 0.04*a - 1e4*b*c - 3e7*b^2", "c_t = 3e7*b^2")
    start = {"a": "1", "b": "0", "c": "0"}
    problem = ordinary(text, 40.0, start, ("a", "b", "c"))
    exact = np.array([0.7158270687193941, 9.185534764557338e-6, 0.2841637457458461])
    for rtol in (1e-6, 1e-8):
        method = ImplicitRungeKutta(rtol=rtol, atol=1e-6 * rtol)
        found = computed(method, problem).values(40.0)
        np.testing.assert_allclose(np.ravel(found), exact, rtol=rtol)


def test_single_precision():
    with precision("float32"):
        solution = computed(RungeKutta(rtol=1e-5, atol=1e-6), ordinary("u_t = -u", 1.0, {"u": "1"}))
    t = np.linspace(0.0, 1.0, 9)
    np.testing.assert_allclose(solution(t), np.exp(-t), atol=1e-5)


def test_what_they_cannot_do():
    heat = line("u_t = u_xx", 1.0, (0.0, 1.0), {"u": "1"}, "periodic")
    for method in (RungeKutta(), RK4(), ImplicitRungeKutta()):
        assert "ordinary" in method.supports(heat).reason
    unknown = ordinary(
        "u_t = -k*u",
        1.0,
        {"u": "1"},
        unknown_parameters={"k": Unknown()},
        data=Measurements(np.array([[0.5]]), np.array([[0.6]])),
    )
    assert "unknown parameters" in RungeKutta().supports(unknown).reason
    assert best_classical(unknown).name == "ParameterFit"


def test_ladders_go_from_cheap_to_dear():
    problem = ordinary("u_t = -u", 1.0, {"u": "1"})
    for method in (RungeKutta(), RK4()):
        steps = [computed(m, problem).stats["evaluations"] for m in method.ladder(problem)]
        assert 5 <= len(steps) <= 7
        assert all(a <= b for a, b in zip(steps, steps[1:], strict=False))


@pytest.mark.parametrize("name", ["lorenz", "kepler", "fitzhugh_nagumo"])
@pytest.mark.parametrize("method", [RungeKutta(rtol=1e-6, atol=1e-8), RK4(tolerance=1e-6)])
def test_the_estimated_error_is_of_the_size_of_the_true_one(name, method):
    problem = get(name)
    solution = solve(problem, method)
    error = solution.error(problem.reference)["relative_l2"]
    assert error / 4 < solution.stats["estimated_error"] < 4 * error
