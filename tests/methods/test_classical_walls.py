"""Finite differences between walls: orders, conditions, implicit steps, steady problems."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.precision import precision
from continua.core.results import ResultCode
from continua.core.solution import Solution
from continua.methods.classical.choose import best_classical
from continua.methods.classical.finite_differences import FiniteDifferences
from continua.methods.classical.lines import Lines, StiffLines
from continua.problems import Walls
from continua.spaces import FiniteDifferenceSpace
from tests.methods.classical_problems import line, on_wall, ordinary, problem, walls
from tests.methods.test_classical_periodic import computed, mesh

KEY = jax.random.key(0)
UNIT = (0.0, 1.0)
TIGHT = {"rtol": 1e-10, "atol": 1e-12}


def gap(method, case, exact):
    t, x = mesh(case)
    return np.max(np.abs(computed(method, case)(t, x) - exact(t, x)))


# Every exact solution below solves u_t = u_xx.
CASES = {
    "dirichlet": (
        on_wall("u", {0: 1.0}, "exp(-t)*sin(1/2)"),
        on_wall("u", {0: 2.0}, "2*exp(-t)*sin(3/2)"),
    ),
    "neumann": (
        on_wall("u", {1: 1.0}, "exp(-t)*cos(1/2)"),
        on_wall("u", {1: 3.0}, "3*exp(-t)*cos(3/2)"),
    ),
    "robin": (
        on_wall("u", {0: 2.0, 1: -0.5}, "exp(-t)*(2*sin(1/2) - cos(1/2)/2)"),
        on_wall("u", {0: 1.0, 1: "1 + t"}, "exp(-t)*(sin(3/2) + (1 + t)*cos(3/2))"),
    ),
}


def decaying(kind):
    return line("u_t = u_xx", 0.5, UNIT, {"u": "sin(x + 1/2)"}, walls(*CASES[kind]))


def decay(t, x):
    return np.exp(-t) * np.sin(x + 0.5)


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("stiff", [False, True])
def test_conditions_against_an_exact_solution(kind, stiff):
    method = FiniteDifferences(41, 4, stiff=stiff)
    assert gap(method, decaying(kind), decay) < 2e-7


@pytest.mark.parametrize("order", [2, 4, 6])
def test_orders_of_solutions_between_walls(order):
    case = line(
        "u_t = u_xx",
        0.1,
        UNIT,
        {"u": "sin(2*pi*x)"},
        walls(on_wall("u", {0: 1.0}), on_wall("u", {0: 1.0})),
    )

    def exact(t, x):
        return np.exp(-4 * np.pi**2 * t) * np.sin(2 * np.pi * x)

    errors = [
        gap(FiniteDifferences(n + 1, order, stiff=True, **TIGHT), case, exact)
        for n in ((40, 80) if order < 6 else (40, 60))
    ]
    ratio = 2.0 if order < 6 else 1.5
    measured = np.log(errors[0] / errors[1]) / np.log(ratio)
    # Closures of the same order near walls gain on the way: never below the order.
    assert order - 0.1 <= measured <= order + 1.1


@pytest.mark.parametrize("kind", ["value", "slope"])
def test_waves_between_walls(kind):
    n = 0 if kind == "value" else 1
    shape = "sin" if kind == "value" else "cos"
    still = on_wall("u", {n: 1.0})
    case = line("u_tt = u_xx", 2.0, UNIT, {"u": f"{shape}(pi*x)", "u_t": "0"}, walls(still, still))
    space = getattr(np, shape)
    method = FiniteDifferences(81)
    assert gap(method, case, lambda t, x: np.cos(np.pi * t) * space(np.pi * x)) < 1e-6
    assert computed(method, case).stats["implicit"] == 0


def test_transport_with_one_condition_leaves_the_other_wall_free():
    case = line(
        "u_t + u_x = 0",
        2.0,
        UNIT,
        {"u": "sin(2*x)"},
        Walls((on_wall("u", {0: 1.0}, "sin(-2*t)"),), ()),
    )
    assert gap(FiniteDifferences(81), case, lambda t, x: np.sin(2 * (x - t))) < 1e-6


def test_fourth_order_with_two_conditions_a_side():
    value, slope = "exp({} - t/100)", "exp({} - t/100)"
    sides = [
        (on_wall("u", {0: 1.0}, value.format(p)), on_wall("u", {1: 1.0}, slope.format(p)))
        for p in (0, 1)
    ]
    case = line("u_t = -u_xxxx/100", 1.0, UNIT, {"u": "exp(x)"}, Walls(*sides))
    solution = computed(FiniteDifferences(41), case)
    assert solution.stats["implicit"] == 1
    t, x = mesh(case)
    np.testing.assert_allclose(solution(t, x), np.exp(x - t / 100), atol=1e-7)


def test_heat_in_the_plane():
    case = problem(
        "u_t = lap(u)/10",
        ("u",),
        ("t", "x", "y"),
        {"t": (0.0, 0.5), "x": UNIT, "y": UNIT},
        {"u": "sin(pi*x)*cos(pi*y)"},
        {
            "x": walls(on_wall("u", {0: 1.0}), on_wall("u", {0: 1.0})),
            "y": walls(on_wall("u", {1: 1.0}), on_wall("u", {1: 1.0})),
        },
        num_points={"t": 4, "x": 11, "y": 11},
    )
    t, x, y = mesh(case)
    exact = np.exp(-0.2 * np.pi**2 * t) * np.sin(np.pi * x) * np.cos(np.pi * y)
    for method in (FiniteDifferences(31, 6), FiniteDifferences(21, 6, stiff=True)):
        np.testing.assert_allclose(computed(method, case)(t, x, y), exact, atol=2e-6)


def reaction():
    still = (on_wall("u", {1: 1.0}), on_wall("v", {1: 1.0}))
    return line(
        ("u_t = u_xx/100 + u - u^3 - v", "v_t = v_xx/20 + (u - v)/10"),
        3.0,
        UNIT,
        {"u": "cos(pi*x)", "v": "0"},
        Walls(still, still),
        ("u", "v"),
    )


def test_two_species_agree_with_an_independent_solver():
    n = 201
    x = np.linspace(0, 1, n)

    def laplacian(f):
        wide = np.concatenate([[f[1]], f, [f[-2]]])
        return (wide[2:] - 2 * f + wide[:-2]) * (n - 1) ** 2

    def field(t, y):
        u, v = y[:n], y[n:]
        return np.concatenate([laplacian(u) / 100 + u - u**3 - v, laplacian(v) / 20 + (u - v) / 10])

    start = np.concatenate([np.cos(np.pi * x), 0 * x])
    end = solve_ivp(field, (0, 3), start, method="LSODA", rtol=1e-8, atol=1e-10).y[:, -1]
    for stiff in (False, True):
        solution = computed(FiniteDifferences(41, stiff=stiff), reaction())
        found = solution.values(3.0, x)
        np.testing.assert_allclose(found, [end[:n], end[n:]], atol=1e-4)


def test_sparse_jacobians_are_derivatives_of_the_right_hand_side():
    case = reaction()
    space = FiniteDifferenceSpace(("x",), (0.0,), (1.0,), (17,), (False,), 4)
    system = StiffLines(Lines(case, space))
    z = np.random.default_rng(0).standard_normal(2 * 15)
    matrix = system.jacobian(0.3, z).toarray()
    step = 1e-6
    for i in range(len(z)):
        e = np.eye(len(z))[i] * step
        slope = (system.right(0.3, z + e) - system.right(0.3, z - e)) / (2 * step)
        np.testing.assert_allclose(matrix[:, i], slope, rtol=1e-5, atol=1e-4)


def square(walls_x, walls_y, text, n=25):
    return problem(
        text,
        ("u",),
        ("x", "y"),
        {"x": UNIT, "y": (0.0, 2.0)},
        {},
        {"x": walls_x, "y": walls_y},
        num_points={"x": n, "y": n},
    )


def test_poisson_in_the_plane(tmp_path):
    sides = walls(on_wall("u", {0: 1.0}, "x*y"), on_wall("u", {0: 1.0}, "x*y"))
    case = square(sides, sides, "-lap(u) = 2*pi^2*sin(pi*x)*sin(pi*y)")
    x, y = mesh(case)
    exact = np.sin(np.pi * x) * np.sin(np.pi * y) + x * y
    solution = computed(FiniteDifferences(), case)
    assert solution.result.code == ResultCode.success
    assert solution.stats["steps"] == 1
    np.testing.assert_allclose(solution(x, y), exact, atol=5e-6)
    assert np.max(np.abs(computed(FiniteDifferences(33, 6), case)(x, y) - exact)) < 1e-6
    solution.save(tmp_path)
    np.testing.assert_array_equal(Solution.load(tmp_path)(x, y), solution(x, y))
    assert isinstance(best_classical(case), FiniteDifferences)


def test_steady_nonlinear_equations_by_newton():
    ends = walls(on_wall("u", {0: 1.0}), on_wall("u", {1: 1.0}, "cos(2)"))
    case = problem(
        "u_xx = u^3 - sin(x)^3 - sin(x)",
        ("u",),
        ("x",),
        {"x": (0.0, 2.0)},
        {},
        {"x": ends},
        num_points={"x": 31},
    )
    x = np.linspace(0, 2, 77)
    solution = computed(FiniteDifferences(), case)
    assert solution.result.code == ResultCode.success
    assert 1 < solution.stats["steps"] < 12
    np.testing.assert_allclose(solution(x), np.sin(x), atol=1e-6)


def test_steady_problems_without_a_unique_solution_say_so():
    still = on_wall("u", {1: 1.0})
    case = problem(
        "u_xx = 0",
        ("u",),
        ("x",),
        {"x": UNIT},
        {},
        {"x": walls(still, on_wall("u", {1: 1.0}, "1"))},
        num_points={"x": 31},
    )
    result = computed(FiniteDifferences(31), case).result
    assert result.code == ResultCode.not_converged
    assert result.advice


@pytest.mark.parametrize("stiff", [False, True])
def test_a_blow_up_is_a_result_with_advice(stiff):
    cold = on_wall("u", {0: 1.0})
    case = line("u_t = u_xx + 10*u^2", 1.0, UNIT, {"u": "10*sin(pi*x)"}, walls(cold, cold))
    solution = computed(FiniteDifferences(21, stiff=stiff), case)
    assert solution.result.code == ResultCode.diverged
    assert "u at x = 0.5" in solution.result.message
    assert "t = 0.01" in solution.result.message
    assert solution.result.advice


def test_single_precision():
    with precision("float32"):
        assert gap(FiniteDifferences(21, rtol=1e-5), decaying("neumann"), decay) < 1e-4


def test_what_it_cannot_do():
    assert "space" in FiniteDifferences().supports(ordinary("u_t = -u", 1.0, {"u": "1"})).reason


def standing(horizon):
    """`E = sin(pi x) cos(pi t)`, `B = -cos(pi x) sin(pi t)` between conductors."""
    both = walls(on_wall("E", {0: 1.0}), on_wall("E", {0: 1.0}))
    start = {"E": "sin(pi*x)", "B": "0"}
    return line(("E_t = -B_x", "B_t = -E_x"), horizon, UNIT, start, both, ("E", "B"))


def fields(t, x):
    return np.stack([np.sin(np.pi * x) * np.cos(np.pi * t), -np.cos(np.pi * x) * np.sin(np.pi * t)])


@pytest.mark.parametrize("order", [2, 4, 6])
def test_first_order_systems_between_walls_are_stable_and_lose_no_more_than_they_must(order):
    case = standing(8.0)
    errors = [
        gap(FiniteDifferences(n, order, stiff=False, **TIGHT), case, fields) for n in (33, 65)
    ]
    assert np.log2(errors[0] / errors[1]) > order // 2 + 1 - 0.2
    assert errors[1] < {2: 2e-2, 4: 2e-4, 6: 1e-5}[order]
    assert _spectrum(case, order).real.max() < 1e-8


def test_one_unknown_is_moved_stably_at_order_six():
    inflow = Walls((on_wall("u", {0: 1.0}, "sin(-2*t)"),), ())
    case = line("u_t + u_x = 0", 8.0, UNIT, {"u": "sin(2*x)"}, inflow)
    assert _spectrum(case, 6).real.max() < 1e-8
    assert gap(FiniteDifferences(81, 6), case, lambda t, x: np.sin(2 * (x - t))) < 1e-5


def _spectrum(case, order):
    """Eigenvalues of the system of the free nodes."""
    method = FiniteDifferences(33, order)
    system = StiffLines(Lines(case, method._space(case, (33,))))
    return np.linalg.eigvals(system.jacobian(0.0, np.zeros(len(system.walls.free))).toarray())
