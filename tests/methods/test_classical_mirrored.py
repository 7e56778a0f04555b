"""The spectral method between walls that mirror the solution."""

import jax
import numpy as np
import pytest

from continua import problems
from continua.core.precision import precision
from continua.methods.classical.choose import best_classical
from continua.methods.classical.finite_differences import FiniteDifferences
from continua.methods.classical.spectral import Spectral, _Trial
from continua.problems import exact as exact_solutions
from continua.problems.mirrored import mirrored
from tests.methods.classical_problems import line, on_wall, problem, walls

KEY = jax.random.key(0)
UNIT = (0.0, 1.0)


def fixed(unknown="u"):
    return walls(on_wall(unknown, {0: 1.0}), on_wall(unknown, {0: 3.0, 1: 0.0}, "0.0"))


def insulated(unknown="u"):
    return walls(on_wall(unknown, {1: 1.0}), on_wall(unknown, {1: 2.0}))


def computed(method, case):
    prepared = method.prepare(case, key=KEY)
    solution = prepared.finish(jax.jit(prepared.program)(prepared.inputs))
    assert solution.result.ok
    return solution


def mesh(case):
    return np.meshgrid(*case.evaluation_grid().values(), indexing="ij")


def plane(expression, ends, initial, boundary, **options):
    domain = {"t": (0.0, 0.2), "x": ends[0], "y": ends[1]}
    points = {"t": 3, "x": 9, "y": 10}
    return problem(
        expression, ("u",), ("t", "x", "y"), domain, initial, boundary, num_points=points, **options
    )


@pytest.mark.parametrize("kind", ["fixed", "insulated"])
def test_heat_decays_mode_by_mode(kind):
    wave, text = {"fixed": (np.sin, "sin"), "insulated": (np.cos, "cos")}[kind]
    case = line(
        "u_t = u_xx",
        0.1,
        (-1.0, 1.0),
        {"u": f"{text}(pi*(x + 1)/2) + {text}(3*pi*(x + 1)/2)/2"},
        fixed() if kind == "fixed" else insulated(),
    )
    t, x = mesh(case)
    slow, fast = np.pi / 2, 3 * np.pi / 2
    exact = np.exp(-(slow**2) * t) * wave(slow * (x + 1))
    exact = exact + np.exp(-(fast**2) * t) * wave(fast * (x + 1)) / 2
    solution = computed(Spectral(), case)
    np.testing.assert_allclose(solution(t, x), exact, atol=1e-13)
    assert solution.stats["num_points"] == 32


def burgers(expression="u_t + u*u_x = nu*u_xx"):
    return line(expression, 0.6, UNIT, {"u": "sin(pi*x)"}, fixed(), parameters={"nu": 0.05})


@pytest.mark.parametrize("expression", [None, "u_t + d(u^2/2, x) = nu*u_xx"])
def test_burgers_between_walls(expression):
    case = burgers(expression) if expression else burgers()
    t, x = mesh(case)
    exact = exact_solutions.burgers(t, x - 1.0, nu=0.05)[0]
    found = computed(Spectral(num_points=96, dt=0.0015, frames=1), case)(t, x)
    np.testing.assert_allclose(found, exact, atol=1e-9)


def test_order_four_in_time():
    trial, steps = _Trial(burgers()), (2, 4, 8, 64)
    ends = [np.asarray(trial.run(48, n, 1).ys[-1]) for n in steps]
    errors = [np.linalg.norm(end - ends[-1]) for end in ends[:-1]]
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(orders > 3.7)
    assert np.all(orders < 4.6)


def test_nodes_and_steps_are_chosen():
    case = line(
        "u_t = e*u_xx + u - u^3",
        1.0,
        UNIT,
        {"u": "cos(pi*x)/2"},
        insulated(),
        parameters={"e": 0.1},
    )
    solution = computed(Spectral(tolerance=1e-8), case)
    fine = computed(Spectral(num_points=128, dt=0.005, frames=1), case)
    t, x = mesh(case)
    np.testing.assert_allclose(solution(t, x), fine(t, x), atol=1e-8)
    by_differences = computed(FiniteDifferences(61, 6, rtol=1e-10, atol=1e-12), case)
    np.testing.assert_allclose(solution(t, x), by_differences(t, x), atol=1e-7)


def test_the_mirrored_problem_is_periodic_in_the_plane():
    """Allen-Cahn, insulated along x and fixed along y."""
    text, start = "u_t = e*lap(u) + u - u^3", {"u": "cos(pi*x)*sin(pi*y)*exp(cos(pi*x))"}
    options = {"parameters": {"e": 0.05}}
    half = plane(text, (UNIT, UNIT), start, {"x": insulated(), "y": fixed()}, **options)
    ring = {"x": "periodic", "y": "periodic"}
    whole = plane(text, ((-1.0, 1.0), (-1.0, 1.0)), start, ring, **options)
    points = mesh(half)
    found = computed(Spectral(num_points=24, dt=0.01, frames=1), half)(*points)
    exact = computed(Spectral(num_points=48, dt=0.01, frames=1), whole)(*points)
    np.testing.assert_allclose(found, exact, atol=1e-12)
    assert np.ptp(found) > 0.5


def test_hinged_walls_of_fourth_order():
    """Kuramoto-Sivashinsky with u = u_xx = 0."""
    text, hinged = "u_t + u*u_x + u_xx + 0.02*u_xxxx = 0", [{0: 1.0}, {2: 1.0}]
    conditions = tuple(on_wall("u", c) for c in hinged)
    both = problems.Walls(conditions, conditions)
    start = {"u": "sin(pi*x) + sin(3*pi*x)/5"}
    half = line(text, 0.5, UNIT, start, both)
    whole = line(text, 0.5, (-1.0, 1.0), start, "periodic")
    t, x = mesh(half)
    found = computed(Spectral(num_points=32, dt=0.005, frames=1), half)(t, x)
    exact = computed(Spectral(num_points=64, dt=0.005, frames=1), whole)(t, x)
    np.testing.assert_allclose(found, exact, atol=1e-12)
    clamped = (on_wall("u", {0: 1.0}), on_wall("u", {1: 1.0}))
    refused = line(text, 0.5, UNIT, start, problems.Walls(clamped, clamped))
    assert "odd about one wall" in Spectral().supports(refused).reason


def test_a_periodic_axis_beside_walls():
    start = {"u": "cos(pi*x)*exp(sin(2*pi*y))"}
    ends, boundary = (UNIT, UNIT), {"x": insulated(), "y": "periodic"}
    case = plane("u_t + u_y = k*u_xx", ends, start, boundary, parameters={"k": 0.3})
    t, x, y = mesh(case)
    exact = np.exp(-0.3 * np.pi**2 * t) * np.cos(np.pi * x) * np.exp(np.sin(2 * np.pi * (y - t)))
    found = computed(Spectral(num_points=48, dt=0.05, frames=1), case)
    np.testing.assert_allclose(found(t, x, y), exact, atol=1e-12)


def test_states_of_different_parity_are_coupled():
    """Sound in a closed pipe: no velocity at the walls, no slope of the pressure."""
    both = {"u": "0", "p": "cos(2*pi*x)"}
    case = line(["u_t + p_x = 0", "p_t + u_x = 0"], 0.7, UNIT, both, fixed(), unknowns=("u", "p"))
    parities, _ = mirrored(case)
    assert parities == {"u": ("odd",), "p": ("even",)}
    t, x = mesh(case)
    u, p = computed(Spectral(num_points=16, dt=0.07, frames=1), case).values(t, x)
    np.testing.assert_allclose(p, np.cos(2 * np.pi * x) * np.cos(2 * np.pi * t), atol=1e-12)
    np.testing.assert_allclose(u, np.sin(2 * np.pi * x) * np.sin(2 * np.pi * t), atol=1e-12)


def test_a_string_in_three_dimensions():
    text, names = "u_tt = lap(u)", "xyz"
    case = problem(
        text,
        ("u",),
        ("t", *names),
        {"t": (0.0, 1.0), **dict.fromkeys(names, UNIT)},
        {"u": "sin(pi*x)*sin(pi*y)*sin(pi*z)", "u_t": "0"},
        dict.fromkeys(names, fixed()),
        num_points={"t": 3, **dict.fromkeys(names, 5)},
    )
    t, x, y, z = mesh(case)
    exact = np.cos(np.sqrt(3) * np.pi * t)
    for a in (x, y, z):
        exact = exact * np.sin(np.pi * a)
    found = computed(Spectral(num_points=8, dt=0.5, frames=1), case)(t, x, y, z)
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_a_source_that_mirrors_itself():
    text = "u_t = u_xx + pi^2*sin(pi*x)"
    case = line(text, 0.3, UNIT, {"u": "sin(2*pi*x)"}, fixed())
    t, x = mesh(case)
    exact = (1 - np.exp(-(np.pi**2) * t)) * np.sin(np.pi * x)
    exact = exact + np.exp(-4 * np.pi**2 * t) * np.sin(2 * np.pi * x)
    found = computed(Spectral(num_points=16, dt=0.06, frames=1), case)(t, x)
    np.testing.assert_allclose(found, exact, atol=1e-12)


@pytest.mark.parametrize(
    ("expression", "initial", "boundary", "part"),
    [
        (
            "u_t = u_xx + u_x",
            "sin(pi*x)",
            fixed(),
            "the term u_x of the equation of 'u' is not odd",
        ),
        ("u_t = u_xx + u^2", "sin(pi*x)", fixed(), "u**2"),
        ("u_t = u_xx + u*u_x", "cos(pi*x)", insulated(), "is not even"),
        ("u_t = d((1 + x)*u_x, x)", "sin(pi*x)", fixed(), "d(x*u_x + u_x, x, 1)"),
        ("u_t = u_xx + exp(u)", "sin(pi*x)", fixed(), "exp(u)"),
        ("u_t = u_xx", "x*(1 - x)", fixed(), "the sines of the initial value of 'u' along x"),
        ("u_t = u_xx", "x^2", insulated(), "the cosines of the initial value"),
        (
            "u_t = u_xx",
            "cos(pi*x)",
            walls(*fixed().lower, *insulated().upper),
            "even about another",
        ),
        ("u_t = u_xx", "0", walls(on_wall("u", {0: 1.0}, "t"), *fixed().upper), "not all zero"),
        ("u_t = u_xx", "0", walls(on_wall("u", {0: 1.0, 1: 1.0}), *fixed().upper), "not all zero"),
        ("u_t = u_xxt", "sin(pi*x)", fixed(), "differentiated in space"),
    ],
)
def test_what_does_not_mirror_is_refused_with_the_reason(expression, initial, boundary, part):
    case = line(expression, 0.5, UNIT, {"u": initial}, boundary)
    support = Spectral().supports(case)
    assert not support.ok
    assert part in support.reason


@pytest.mark.parametrize(
    "expression",
    ["u_t = d((2 + cos(2*pi*x))*u_x, x)", "u_t = u_xx + (u + u^3)*sin(t)", "u_t = u_xx + u*abs(u)"]
    + ["u_t = u_xx - tanh(u)", "u_t = u_xx + sqrt(1 + u^2)*u", "u_t = u_xx + u_x^2*u"]
    + ["u_t = u_xx + x*0", "u_t = u_xx + u*mean(u^2)", "u_t = u_xx - fraclap(u, 3)"],
)
def test_what_mirrors_is_taken(expression):
    assert Spectral().supports(line(expression, 0.5, UNIT, {"u": "sin(pi*x)"}, fixed())).ok


def test_single_precision():
    with precision("float32"):
        case = line("u_t = u_xx + u*u_x", 0.1, UNIT, {"u": "sin(pi*x)"}, fixed())
        found = computed(Spectral(num_points=32, dt=0.01, frames=1), case)
        t, x = mesh(case)
        rough = found(t, x)
    exact = computed(Spectral(num_points=32, dt=0.01, frames=1), case)(t, x)
    np.testing.assert_allclose(rough, exact, atol=2e-6)


def test_a_failure_names_state_and_wavenumber():
    case = line("u_t = u_xx/10 + u^3", 3.0, UNIT, {"u": "4*cos(pi*x)"}, insulated())
    prepared = Spectral(num_points=32, dt=0.01).prepare(case, key=KEY)
    solution = prepared.finish(jax.jit(prepared.program)(prepared.inputs))
    assert not solution.result.ok
    assert "u at wavenumber" in solution.result.message


def test_it_is_the_first_choice_where_it_can():
    assert isinstance(best_classical(problems.heat()), Spectral)
    assert not isinstance(best_classical(problems.fisher_kpp()), Spectral)
