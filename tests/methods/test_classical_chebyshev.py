"""Chebyshev collocation: spectral decay between walls, steady and in time."""

import jax
import numpy as np
import pytest

from continua.core.precision import precision
from continua.core.results import ResultCode
from continua.methods.classical.chebyshev import Chebyshev
from continua.problems import Condition, Walls, burgers, heat
from tests.methods.classical_problems import line, on_wall, problem, walls

KEY = jax.random.key(0)
ZERO = walls(on_wall("u", {0: 1.0}), on_wall("u", {0: 1.0}))


def computed(method, problem):
    prepared = method.prepare(problem, key=KEY)
    return prepared.finish(jax.jit(prepared.program)(prepared.inputs))


def steady(text, boundary, **options):
    domain = {"x": (-1.0, 1.0)}
    return problem(text, ("u",), ("x",), domain, {}, {"x": boundary}, **options)


def largest_error(solution, exact):
    x = np.linspace(-1, 1, 101)
    return np.abs(solution(x) - exact(x)).max()


def test_helmholtz_falls_to_rounding():
    exact = lambda x: np.exp(np.sin(3 * x))  # noqa: E731
    case = steady(
        "u_xx + 20*u = exp(sin(3*x))*(9*cos(3*x)^2 - 9*sin(3*x) + 20)",
        walls(
            on_wall("u", {0: 1.0}, "exp(sin(3*x))"),
            on_wall("u", {0: 1.0, 1: 2.0}, "exp(sin(3*x))*(1 + 6*cos(3*x))"),
        ),
    )
    errors = [largest_error(computed(Chebyshev(n), case), exact) for n in (12, 24, 48)]
    assert errors[1] < 1e-3 * errors[0]
    assert errors[2] < 1e-12


def test_newton_on_a_nonlinear_equation_and_its_failure():
    # Bratu's equation in the form whose solution is log(1/cos).
    case = steady(
        "u_xx = exp(2*u)",
        walls(on_wall("u", {0: 1.0}, "-log(cos(1))"), on_wall("u", {1: 1.0}, "tan(1)")),
    )
    solution = computed(Chebyshev(), case)
    assert solution.result.ok
    assert solution.stats["num_points"] in (33, 65)  # chosen
    assert largest_error(solution, lambda x: -np.log(np.cos(x))) < 1e-12
    none = steady("u_xx + exp(u)*4 = 0", ZERO)  # beyond the fold at 0.878
    assert computed(Chebyshev(17), none).result.code == ResultCode.not_converged


def test_four_conditions_of_a_beam():
    clamped = tuple(Condition("u", {n: 1.0}, "0") for n in (0, 1))
    case = steady("u_xxxx = 24", Walls(clamped, clamped))
    assert largest_error(computed(Chebyshev(17), case), lambda x: (x**2 - 1) ** 2) < 1e-11


@pytest.fixture(scope="module")
def half():
    """The half of Burgers' front, which stands at a wall where nodes are dense."""
    return line(
        "u_t + u*u_x = nu*u_xx", 1.0, (0.0, 1.0), {"u": "-sin(pi*x)"}, ZERO,
        parameters={"nu": 0.01 / np.pi},
    )  # fmt: skip


def test_burgers_at_a_front_by_the_wall(half):
    mesh = np.meshgrid(*half.evaluation_grid().values(), indexing="ij")
    exact = burgers().reference(*mesh)
    solution = computed(Chebyshev(129), half)
    assert solution.result.ok
    assert np.abs(solution(*mesh) - exact).max() < 2e-8
    scattered = np.random.default_rng(0).uniform(0.0, 1.0, (2, 40))
    assert np.isfinite(solution(*scattered)).all()


def test_a_wave_through_walls_that_move():
    lower, upper = on_wall("u", {0: 1.0}, "sin(x - t)"), on_wall("u", {1: 1.0}, "cos(x - t)")
    initial = {"u": "sin(x)", "u_t": "-cos(x)"}
    case = line("u_tt = u_xx", 1.0, (0.0, 2.0), initial, walls(lower, upper))
    solution = computed(Chebyshev(14, rtol=1e-8), case)
    t, x = np.random.default_rng(0).uniform(0.0, 1.0, (2, 50))
    np.testing.assert_allclose(solution(t, 2 * x), np.sin(2 * x - t), atol=1e-6)


def test_single_precision():
    case = steady(
        "u_xx = -cos(x)", walls(on_wall("u", {0: 1.0}, "cos(x)"), on_wall("u", {0: 1.0}, "cos(x)"))
    )
    with precision("float32"):
        solution = computed(Chebyshev(17), case)
    assert largest_error(solution, np.cos) < 1e-5


def test_what_it_cannot_do():
    ring = line("u_t = u_xx", 1.0, (0.0, 1.0), {"u": "1"}, "periodic")
    assert "walls" in Chebyshev().supports(ring).reason
    assert Chebyshev().supports(heat()).ok
    assert [m.num_points for m in Chebyshev().ladder(heat())] == [9, 17, 33, 65, 129, 257]
