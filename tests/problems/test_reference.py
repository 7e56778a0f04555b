"""References against independent formulas and solvers."""

import dataclasses

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.equations import Equation, nested_forward, parse_expression
from continua.equations.compile import compile_expressions
from continua.equations.parse import Scope, coordinate_symbol, parameter_symbol
from continua.problems import (
    PROBLEMS,
    AnalyticReference,
    EquationProblem,
    FormulaReference,
    OdeReference,
    SpectralReference,
    burgers,
    heat,
    kdv,
    lorenz,
    lotka_volterra,
    numerical_reference,
    van_der_pol,
)
from continua.problems.solve_elliptic import EllipticReference
from continua.problems.solve_periodic import left_over, solve_accurately

FORMULAS = ("heat", "advection", "poisson", "fisher_kpp", "kdv")


def mesh(problem):
    return np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")


def cole_hopf(t, x, nu):
    """The solution of Burgers' equation by adaptive quadrature with 30 digits."""
    t, x, nu = map(mpmath.mpf, (t, x, nu))
    width = mpmath.sqrt(4 * nu * t)

    def exponent(z):
        return -(z**2) - mpmath.cos(mpmath.pi * (x - width * z)) / (2 * mpmath.pi * nu)

    reach = mpmath.sqrt(1 / (mpmath.pi * nu) + 70)
    ends = mpmath.linspace(-reach, reach, 41)
    top = max(exponent(z) for z in mpmath.linspace(-reach, reach, 400))
    weight = lambda z: mpmath.exp(exponent(z) - top)  # noqa: E731
    above = mpmath.quad(lambda z: mpmath.sin(mpmath.pi * (x - width * z)) * weight(z), ends)
    return float(-above / mpmath.quad(weight, ends))


@pytest.mark.parametrize(
    ("nu", "points"),
    [
        (0.01 / np.pi, [(1e-6, 0.3), (0.1, -0.7), (0.35, 1e-3), (0.5, -0.002), (1, 0.05)]),
        (0.1, [(0.4, 0.2)]),
        (10.0, [(0.05, 0.3)]),
        (3e-4, [(0.6, 0.01)]),
    ],
)
def test_burgers_equals_quadrature_with_thirty_digits(nu, points):
    reference = burgers(nu=float(nu)).reference
    with mpmath.workdps(30):
        for t, x in points:
            np.testing.assert_allclose(reference(t, x), cole_hopf(t, x, nu), atol=1e-12)


def test_burgers_begins_with_its_initial_value_and_is_odd_and_periodic():
    reference = burgers().reference
    x = np.linspace(-1, 1, 33)
    np.testing.assert_allclose(reference(0.0, x), -np.sin(np.pi * x), atol=1e-15)
    values = reference(np.linspace(0, 1, 7)[:, None], x)
    np.testing.assert_allclose(values, -values[:, ::-1], atol=1e-13)
    np.testing.assert_allclose(reference(0.7, x), reference(0.7, x + 2), atol=1e-12)
    assert reference.error < 1e-10


def test_burgers_equals_a_spectral_solution():
    problem = burgers(nu=0.05)
    spectral = SpectralReference(problem)
    exact = problem.reference.values(*mesh(problem))
    np.testing.assert_allclose(spectral.values(*mesh(problem)), exact, atol=1e-10)
    rng = np.random.default_rng(0)
    t, x = rng.uniform(0, 1, 20), rng.uniform(-1, 1, 20)
    np.testing.assert_allclose(spectral(t, x), problem.reference(t, x), atol=1e-10)
    assert spectral.error < 1e-8
    assert "ETDRK4" in spectral.evidence


def field_of(reference):
    """A formula reference as a JAX function of one point."""
    scope = Scope(reference.coordinates, (), tuple(reference.parameters))
    rows = [parse_expression(f, scope, where="test") for f in reference.formulas.values()]
    symbols = [coordinate_symbol(c) for c in reference.coordinates]
    symbols += [parameter_symbol(p) for p in reference.parameters]
    function = compile_expressions(rows, symbols)
    numbers = [jnp.asarray(v) for v in reference.parameters.values()]
    return lambda point: jnp.stack(function(*point, *numbers))


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas_solve_their_equations(name):
    problem = PROBLEMS[name]()
    ends = np.array(list(problem.domain.values()))
    points = jnp.asarray(
        ends[:, 0] + np.ptp(ends, axis=1) * np.random.default_rng(1).random((50, 2))
    )
    net = field_of(problem.reference)
    equation = problem.equation
    residual = equation.residual(net, points, problem.parameters, differentiate=nested_forward)
    orders = sorted({o for _, o in equation.jets})
    sizes = jax.vmap(lambda p: jnp.max(jnp.abs(nested_forward(net, p, orders))))(points)
    np.testing.assert_allclose(residual[:, 0], 0.0, atol=1e-9 * float(jnp.max(sizes)))
    values = problem.reference.values(*points.T)
    np.testing.assert_allclose(values, jax.vmap(net)(points).T, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [*FORMULAS, "burgers"])
def test_references_fulfil_initial_and_wall_values(name):
    problem = PROBLEMS[name]()
    scope = Scope(problem.equation.coordinates, (), problem.equation.parameters)
    rng = np.random.default_rng(2)
    inside = {c: rng.uniform(*problem.domain[c], 30) for c in problem.equation.coordinates}

    def check(text, at):
        symbols = [coordinate_symbol(c) for c in at]
        symbols += [parameter_symbol(p) for p in problem.parameters]
        (function,) = (compile_expressions([parse_expression(text, scope, where="t")], symbols),)
        (wanted,) = function(*map(jnp.asarray, at.values()), *problem.parameters.values())
        got = problem.reference(*at.values())
        np.testing.assert_allclose(got, wanted + 0.0 * got, atol=1e-12)

    for text in problem.initial.values():
        check(text, {**inside, "t": np.zeros(30)})
    for axis, walls in problem.boundary.items():
        if walls == "periodic":
            low, high = (problem.reference(*{**inside, axis: np.full(30, e)}.values())
                         for e in problem.domain[axis])  # fmt: skip
            np.testing.assert_allclose(low, high, atol=1e-9)
            continue
        for place, (condition,) in zip(
            problem.domain[axis], (walls.lower, walls.upper), strict=True
        ):
            check(condition.value, {**inside, axis: np.full(30, place)})


def test_kdv_on_a_ring_is_kdv_on_the_line_to_1e_7():
    problem = kdv()
    spectral = SpectralReference(problem, tolerance=1e-8)
    exact = problem.reference.values(*mesh(problem))
    gap = np.abs(spectral.values(*mesh(problem)) - exact).max()
    assert gap < 1e-8
    assert problem.reference.error < 1e-7


def taylor_lorenz(start, end, steps, order=30, digits=40):
    """Lorenz's system by Taylor series in many digits."""
    with mpmath.workdps(digits):
        h, beta = mpmath.mpf(end) / steps, mpmath.mpf(8 / 3)
        state = [mpmath.mpf(v) for v in start]
        for _ in range(steps):
            x, y, z = ([v] for v in state)
            for n in range(order):
                xz = sum(x[i] * z[n - i] for i in range(n + 1))
                xy = sum(x[i] * y[n - i] for i in range(n + 1))
                x.append(10 * (y[n] - x[n]) / (n + 1))
                y.append((28 * x[n] - xz - y[n]) / (n + 1))
                z.append((xy - beta * z[n]) / (n + 1))
            state = [mpmath.polyval(c[::-1], h) for c in (x, y, z)]
        return np.array([float(v) for v in state])


def test_lorenz_equals_taylor_series_with_forty_digits():
    exact = taylor_lorenz([1, 1, 1], 10, 400)
    reference = lorenz().reference
    np.testing.assert_allclose(reference(10.0), exact, atol=1e-8)
    assert isinstance(reference, OdeReference)
    assert reference.error < 1e-9


def test_lorenz_is_within_1e_8_of_dop853_at_1e_13():
    def field(t, y):
        return [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]

    t = np.linspace(0, 10, 101)
    other = solve_ivp(field, (0, 10), [1.0, 1, 1], "DOP853", t, rtol=1e-13, atol=1e-13).y
    np.testing.assert_allclose(lorenz().reference(t), other, atol=1e-8)


def test_lotka_volterra_keeps_its_invariant():
    problem = lotka_volterra()
    x, y = problem.reference(problem.evaluation_grid()["t"])
    a, b, c, e = problem.parameters.values()
    invariant = c * x - e * np.log(x) + b * y - a * np.log(y)
    np.testing.assert_allclose(invariant, invariant[0], rtol=1e-11)


def test_van_der_pol_equals_another_solver():
    def field(t, y):
        return [y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]]

    t = np.linspace(0, 20, 41)
    other = solve_ivp(field, (0, 20), [2.0, 0.0], "Radau", t, rtol=1e-10, atol=1e-12).y[0]
    np.testing.assert_allclose(van_der_pol().reference(t), other, atol=1e-7)


def ordinary(text, end, start, unknown="u"):
    equation = Equation((text,), (unknown,), ("t",))
    return EquationProblem("ode", "Ode", equation, {"t": (0.0, end)}, initial={unknown: start})


def test_a_stiff_equation_takes_an_implicit_method():
    problem = ordinary("u_t = -1e7*(u - cos(t)) - sin(t)", 2.0, "1")
    reference = numerical_reference(problem)
    t = np.linspace(0, 2, 20)
    np.testing.assert_allclose(reference(t), np.cos(t), atol=1e-10)
    assert "Radau" in reference.evidence


def test_references_cost_nothing_until_they_are_asked():
    explodes = ordinary("u_t = u^2", 2.0, "1")
    reference = numerical_reference(explodes)
    with pytest.raises(InputError, match="reference solution gets no further than t = 0.99999"):
        reference(0.5)
    equation = Equation(("u_t = u^2 + u_xx",), ("u",), ("t", "x"))
    ring = EquationProblem("r", "R", equation, {"t": (0.0, 2.0), "x": (0.0, 1.0)},
                           initial={"u": "1"}, boundary={"x": "periodic"},
                           num_points={"t": 3})  # fmt: skip
    with pytest.raises(InputError, match="'r' diverges"):
        _ = SpectralReference(ring, tolerance=1e-3).error


def test_no_numerical_reference_where_there_can_be_none():
    assert numerical_reference(PROBLEMS["p_laplacian"]()) is None
    assert numerical_reference(heat()) is None
    assert isinstance(numerical_reference(PROBLEMS["poisson"]()), EllipticReference)


def periodic(text, initial, unknowns=("u",), space=("x",), **fields):
    equation = Equation((text,), unknowns, ("t", *space))
    domain = {"t": (0.0, 0.5), **{c: (-1.0, 1.0) for c in space}}
    return EquationProblem(
        "p", "P", equation, domain, initial=initial, boundary=dict.fromkeys(space, "periodic"),
        num_points={"t": 6}, **fields,
    )  # fmt: skip


FORCED = {
    "u_t = 0.1*u_xx - u*u_x": "exp(sin(x - t))",
    "u_t = -u_xxx - 6*u*u_x": "1/(2 + cos(x + 3*t))",
    "u_t = 0.05*u_xx + u - u^3": "sin(x)*cos(t)/(1.3 + cos(x))",
}


def forced(law, solution):
    """An equation with the source that makes a solution its own, and the solution."""
    t, x, u = sympy.Symbol("t"), sympy.Symbol("x"), sympy.sympify(solution)
    slopes = {f"u_{'x' * k}": sympy.diff(u, x, k) for k in (3, 2, 1)}
    right = sympy.sympify(law.partition("=")[2].replace("^", "**"))
    right = right.subs({**slopes, "u": u})
    source = sympy.sstr(sympy.diff(u, t) - right).replace("**", "^")
    problem = EquationProblem(
        "p", "P", Equation((f"{law} + {source}",), ("u",), ("t", "x")),
        {"t": (0.0, 1.0), "x": (0.0, 2 * np.pi)}, boundary={"x": "periodic"},
        initial={"u": sympy.sstr(u.subs(t, 0)).replace("**", "^")}, num_points={"t": 6},
    )  # fmt: skip
    return problem, sympy.lambdify((t, x), u, "numpy")


@pytest.mark.parametrize("law", FORCED)
def test_stated_errors_bound_true_ones_closely(law):
    problem, exact = forced(law, FORCED[law])
    for tolerance in (1e-7, 1e-9):
        frames = solve_accurately(problem, tolerance)
        values = exact(frames.times[1:, None], frames.space.axes()["x"])
        gap = frames.physical(frames.times[1:], frames.states[1:])[:, 0] - values
        true = np.linalg.norm(gap) / np.linalg.norm(values)
        assert true <= frames.error <= min(tolerance, 4 * true)


def test_what_a_doubling_leaves_follows_from_two_changes():
    # Of order 4 the last change is 15 times what is left: a little more is stated.
    assert left_over("time", 16e-6, 1e-6) == pytest.approx(1e-6 / 11)
    # What keeps the ratio below 16 is not going to fall.
    assert left_over("time", 12e-6, 1e-6) == pytest.approx(1e-6 / 11 + 0.25e-6)
    assert left_over("space", 1e-4, 1e-6) == pytest.approx(1e-6 / 99)
    assert left_over("space", 1e-2, 1e-8) == pytest.approx(1e-8 / 999)
    # Where convergence does not show, the change itself.
    for kind, before, change in (
        ("time", np.inf, 1e-6), ("time", 2e-6, 1e-6), ("time", 1e-3, 1e-6), ("time", 1e-6, 0.0),
        ("space", np.inf, 1e-6), ("space", 2e-6, 1e-6), ("space", np.inf, np.inf),
    ):  # fmt: skip
        assert left_over(kind, before, change) == change


def test_waves_of_second_order_in_time():
    problem = periodic("u_tt = u_xx", {"u": "cos(pi*x)", "u_t": "pi*sin(2*pi*x)"})
    t, x = np.array([0.0, 0.13, 0.2, 0.5])[:, None], np.linspace(-1, 1, 9)
    exact = (
        np.cos(np.pi * x) * np.cos(np.pi * t) + np.sin(2 * np.pi * x) * np.sin(2 * np.pi * t) / 2
    )
    np.testing.assert_allclose(SpectralReference(problem)(t, x), exact, atol=1e-10)


def test_two_dimensions():
    problem = periodic("u_t = 0.1*lap(u)", {"u": "sin(pi*x)*cos(2*pi*y)"}, space=("x", "y"))
    t, x, y = np.meshgrid([0.0, 0.25, 0.5], [-1, 0.3, 0.9], [0.1, 0.7], indexing="ij")
    exact = np.exp(-0.5 * np.pi**2 * t) * np.sin(np.pi * x) * np.cos(2 * np.pi * y)
    np.testing.assert_allclose(SpectralReference(problem)(t, x, y), exact, atol=1e-10)


def test_a_kink_in_the_initial_value_does_not_spoil_the_coefficients():
    problem = periodic("u_t = 0.1*u_xx", {"u": "x^2"})
    x, k = np.linspace(-1, 1, 21), np.arange(1, 200)
    waves = 4 * (-1.0) ** k / (np.pi * k) ** 2 * np.exp(-0.1 * (np.pi * k) ** 2 * 0.3)
    exact = 1 / 3 + np.cos(np.pi * np.outer(x, k)) @ waves
    reference = SpectralReference(problem)
    np.testing.assert_allclose(reference(0.3, x), exact, atol=1e-9)
    np.testing.assert_array_equal(reference(0.0, x), x**2)


def test_times_outside_are_refused():
    reference = SpectralReference(periodic("u_t = u_xx", {"u": "1"}))
    with pytest.raises(InputError, match="known from 0 to 0.5"):
        reference(0.6, 0.0)
    with pytest.raises(InputError, match="got 1 coordinates, expected 2"):
        reference(0.1)


def test_exact_references_survive_the_file(tmp_path):
    for problem in (burgers(), heat()):
        save_tree(tmp_path / "reference", problem.reference)
        again = load_tree(tmp_path / "reference")
        assert again == problem.reference
        np.testing.assert_array_equal(again(0.3, 0.2), problem.reference(0.3, 0.2))
    with pytest.raises(InputError, match="unknown exact solution"):
        AnalyticReference("none", ("t",), {}, 0.0, "")
    with pytest.raises(InputError, match="reference.u: unknown symbol 'q'"):
        FormulaReference({"u": "q"}, ("t",))


def test_a_reference_does_not_count_in_comparisons():
    assert dataclasses.replace(burgers(), reference=None) == burgers()


def test_changed_problems_have_references_of_their_own():
    slower = dataclasses.replace(burgers(), parameters={"nu": 0.1})
    np.testing.assert_array_equal(slower.reference(0.5, 0.3), burgers(nu=0.1).reference(0.5, 0.3))
    rod = dataclasses.replace(heat(), parameters={"kappa": 0.3})
    assert rod.reference == heat(kappa=0.3).reference
    with pytest.raises(InputError, match="misses its initial value by"):
        dataclasses.replace(burgers(), initial={"u": "sin(pi*x)"})
    longer = dataclasses.replace(lorenz(), domain={"t": (0.0, 0.1)}, num_points={"t": 5})
    assert longer.reference.problem == longer
    with pytest.raises(InputError, match=r"known from 0 to 0\.1"):
        longer.reference(1.0)
    assert isinstance(longer.reference, OdeReference)
