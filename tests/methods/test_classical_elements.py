"""Finite elements: orders, exact solutions, flows, adaptivity, steps in time, failures."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse.linalg import spsolve

import continua as ct
from continua.core.errors import InputError
from continua.equations import Equation
from continua.methods import FiniteElements, best_classical
from continua.methods.classical.assembly import Assembly
from continua.methods.classical.element_steps import B_LOWER, A, C
from continua.methods.classical.linear import Krylov
from continua.methods.classical.weak_form import weak_form
from continua.problems import Condition, Disk, EquationProblem, FluxCondition, Perforated
from continua.problems.parts import boundary_parts
from continua.spaces.finite_element import element_space

PLANE = ("x", "y")


def errors(problem, counts, **options):
    found = []
    for count in counts:
        method = FiniteElements(num_cells=count, adaptive=False, **options)
        solution = ct.solve(problem, method, throw=True)
        found.append(solution.error(problem.reference)["relative_l2"])
    return found


def on_disk(expression, exact, rim, **options):
    return EquationProblem(
        name="disk",
        title="Disk",
        equation=Equation(expression, "u", PLANE),
        domain={},
        geometry=Disk(),
        boundary={"rim": rim},
        reference=ct.problems.FormulaReference({"u": exact}, PLANE),
        num_points={"x": 33, "y": 33},
        **options,
    )


@pytest.mark.parametrize("degree", [1, 2])
@pytest.mark.parametrize("cells", ["triangles", "quadrilaterals"])
def test_order_in_a_box(degree, cells):
    coarse, fine = errors(ct.problems.poisson(), (800, 3200), degree=degree, cells=cells)
    assert np.log2(coarse / fine) > degree + 0.95


@pytest.mark.parametrize("degree", [1, 2])
def test_order_around_a_hole(degree):
    coarse, fine = errors(ct.problems.poisson_hole(), (800, 3200), degree=degree)
    assert np.log2(coarse / fine) > degree + 0.85


@pytest.mark.parametrize(
    ("rim", "means"),
    [
        (Condition("u", {1: 1.0}, "2*x*y + 3*x^2*y"), {"u": 0.0}),
        (Condition("u", {0: 2.0, 1: 3.0}, "2*x*y*(1 + x) + 3*(2*x*y + 3*x^2*y)"), {}),
        (Condition("u", {0: 1.0}, "x*y*(1 + x)"), {}),
    ],
)
def test_conditions_on_a_curved_boundary(rim, means):
    problem = on_disk("-div(grad(u)) = -2*y", "x*y*(1 + x)", rim, means=means)
    coarse, fine = errors(problem, (128, 512))
    assert np.log2(coarse / fine) > 2.9
    assert fine < 2e-4


def test_a_flux_is_what_stands_under_the_divergence():
    exact, outflow = "x^2 + y", "-(1 + x^2)*(2*x^2 + y)"
    problem = on_disk(
        "-div((1 + x^2)*grad(u)) = -2 - 6*x^2",
        exact,
        FluxCondition("u", outflow),
        means={"u": 0.25},
    )
    assert errors(problem, (512,))[0] < 2e-5


def test_refinement_finds_the_corner():
    problem = ct.problems.poisson_corner()
    found = ct.solve(problem, FiniteElements(tolerance=1e-4))
    (uniform,) = errors(problem, (int(found.stats["cells"]),))
    error = found.error(problem.reference)["relative_l2"]
    assert found.result.ok
    assert error < 1.5 * found.stats["estimated_error"] < 1.5e-4
    assert uniform > 10 * error


@pytest.mark.parametrize("name", ["elasticity", "stokes", "kovasznay"])
def test_systems(name):
    problem = getattr(ct.problems, name)()
    method = FiniteElements(num_cells=800, adaptive=False)
    errors = ct.solve(problem, method, throw=True).error(problem.reference)
    assert errors["relative_l2_u"] < 8e-4
    assert errors["relative_l2_v"] < 4e-3
    if name != "elasticity":
        assert errors["relative_l2_p"] < 1e-2


def test_order_of_the_velocity_of_a_flow():
    problem = ct.problems.kovasznay()
    found = [
        ct.solve(problem, FiniteElements(num_cells=n, adaptive=False)).error(problem.reference)
        for n in (400, 1600)
    ]
    assert np.log2(found[0]["relative_l2_u"] / found[1]["relative_l2_u"]) > 2.8
    assert np.log2(found[0]["relative_l2_p"] / found[1]["relative_l2_p"]) > 1.9


def test_the_cavity_meets_published_extremes():
    # Botella and Peyret (1998), Re = 100: extremes of the velocity on the centre lines.
    solution = ct.solve(ct.problems.lid_driven_cavity(smooth=False), FiniteElements(num_cells=2000))
    line = np.linspace(0.0, 1.0, 401)
    u, v = solution.values(0.5, line)[0], solution.values(line, 0.5)[1]
    assert solution.result.ok
    assert abs(u.min() + 0.2140424) < 5e-4
    assert abs(v.max() - 0.1795728) < 5e-4
    assert abs(v.min() + 0.2538030) < 5e-4


def test_forces_on_a_cylinder_meet_the_benchmark():
    # Schaefer and Turek's 2D-1: drag, lift and the fall of pressure across the cylinder.
    solution = ct.solve(ct.problems.cylinder_flow(), FiniteElements(num_cells=2400), throw=True)
    drag, lift = (500 * solution.stats[f"outflow_{c}_hole"] for c in "uv")
    fall = solution.values(0.15, 0.2)[2] - solution.values(0.25, 0.2)[2]
    assert abs(drag - 5.57953523384) < 2e-3
    assert abs(lift - 0.010618948146) < 3e-4
    assert abs(fall - 0.11752016697) < 3e-4


def test_what_flows_out_balances_the_source():
    problem = on_disk("-div(grad(u)) = 1", "(1 - x^2 - y^2)/4", Condition("u", {0: 1.0}))
    for degree in (1, 2):
        solution = ct.solve(problem, FiniteElements(degree=degree, num_cells=128, adaptive=False))
        assert abs(solution.stats["outflow_u_rim"] - np.pi) < (0.1 if degree == 1 else 1e-4)


def test_a_smooth_cavity_meets_its_stream_function():
    problem = ct.problems.lid_driven_cavity()
    solution = ct.solve(problem, FiniteElements(num_cells=2000), throw=True)
    errors = solution.error(problem.reference)
    assert errors["relative_l2_u"] < 1e-3
    assert errors["relative_l2_p"] < 1e-2
    assert problem.reference.error < 2e-5


def assembled(problem, count):
    method = FiniteElements(num_cells=count, adaptive=False)
    form = weak_form(problem.equation)
    region, parts = boundary_parts(problem)
    mesh, _, _ = method._mesh(problem, form)
    space = element_space(problem.equation.space, mesh, 2, region)
    degrees = [2 - (u in form.constraints) for u in problem.equation.unknowns]
    return Assembly(problem, form, region, parts, space, degrees)


NONLINEAR = on_disk(
    "-div((1 + u^2)*grad(u)) + exp(u)*u_x = 1",
    "0",
    Condition("u", {0: "1 + x^2", 1: 2.0}, "x"),
)


@pytest.mark.parametrize("problem", [NONLINEAR, ct.problems.kovasznay()])
def test_jacobian_is_the_slope_of_the_residual(problem):
    assembly = assembled(problem, 60)
    rng = np.random.default_rng(0)
    z, direction = rng.standard_normal((2, assembly.size))
    h = 1e-6
    slope = (
        assembly.residual(0.0, z + h * direction) - assembly.residual(0.0, z - h * direction)
    ) / (2 * h)
    found = assembly.jacobian(0.0, z) @ direction
    assert np.max(np.abs(found - slope)) < 1e-7 * np.max(np.abs(slope))


def test_newton_is_quadratic():
    assembly = assembled(NONLINEAR, 200)
    z = np.zeros(assembly.size)
    sizes = []
    for _ in range(6):
        r = assembly.residual(0.0, z)
        sizes.append(float(np.linalg.norm(r)))
        z = z - spsolve(assembly.jacobian(0.0, z).tocsc(), r)
    # |R_{i+1}| = c |R_i|^2 with one c as soon as the steps are small.
    factors = [sizes[i + 1] / sizes[i] ** 2 for i in (1, 2, 3)]
    assert max(factors) < 2 * min(factors)
    assert sizes[5] < 1e-14


def test_krylov_agrees_with_factors():
    problem = ct.problems.poisson()
    method = FiniteElements(num_cells=800, adaptive=False)
    direct = ct.solve(problem, method)
    iterated = ct.solve(
        problem, dataclasses.replace(method, linear=Krylov("cg", "multigrid", rtol=1e-12))
    )
    assert iterated.error(direct)["relative_l2"] < 1e-10


def test_the_steps_have_their_order():
    # Conditions of all rooted trees up to order 4, and up to 3 for the estimate.
    b, one = A[-1], np.ones(5)
    assert np.allclose(C, A @ one, atol=1e-15)
    for weights, order in ((b, 4), (B_LOWER, 3)):
        trees = {
            1: [(one, 1)],
            2: [(C, 1 / 2)],
            3: [(C**2, 1 / 3), (A @ C, 1 / 6)],
            4: [(C**3, 1 / 4), (C * (A @ C), 1 / 8), (A @ C**2, 1 / 12), (A @ A @ C, 1 / 24)],
        }
        for k in range(1, order + 1):
            for tree, value in trees[k]:
                assert abs(weights @ tree - value) < 1e-14


def test_heat_in_a_disk():
    problem = ct.problems.heat_disk()
    coarse, fine = errors(problem, (200, 800), rtol=1e-8, atol=1e-10)
    assert fine < 1e-5
    assert np.log2(coarse / fine) > 2.9


def test_a_flow_in_time_keeps_its_pressure():
    nu, decay = 0.05, "exp(-2*pi^2*nu*t)"
    u, v = f"sin(pi*x)*cos(pi*y)*{decay}", f"-cos(pi*x)*sin(pi*y)*{decay}"
    steady = ct.problems.stokes()
    equation = Equation(
        (
            "u_t + u*u_x + v*u_y - nu*lap(u) + p_x = 0",
            "v_t + u*v_x + v*v_y - nu*lap(v) + p_y = 0",
            "u_x + v_y = 0",
        ),
        ("u", "v", "p"),
        ("t", "x", "y"),
        ("nu",),
    )
    side = (Condition("u", {0: 1.0}, u), Condition("v", {0: 1.0}, v))
    walls = type(steady.boundary["x"])(side, side)
    problem = EquationProblem(
        name="vortices",
        title="Decaying vortices",
        equation=equation,
        domain={"t": (0.0, 0.5), "x": (0.0, 2.0), "y": (0.0, 2.0)},
        parameters={"nu": nu},
        initial={"u": "sin(pi*x)*cos(pi*y)", "v": "-cos(pi*x)*sin(pi*y)"},
        boundary={"x": walls, "y": walls},
        means={"p": 0.0},
        num_points={"t": 6, "x": 17, "y": 17},
    )
    solution = ct.solve(problem, FiniteElements(num_cells=400, rtol=1e-5), throw=True)
    t, x, y = np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")
    fall = np.exp(-2 * np.pi**2 * nu * t)
    found = solution.values(t, x, y)
    assert np.max(np.abs(found[0] - np.sin(np.pi * x) * np.cos(np.pi * y) * fall)) < 1e-2
    pressure = (np.cos(2 * np.pi * x) + np.cos(2 * np.pi * y)) * fall**2 / 4
    assert np.max(np.abs(found[2] - pressure)) < 5e-2


def test_save_and_load(tmp_path):
    solution = ct.solve(ct.problems.poisson_hole(), FiniteElements(num_cells=200))
    solution.save(tmp_path)
    again = type(solution).load(tmp_path)
    points = np.array([0.5, 0.0, 0.9]), np.array([0.5, 0.0, -0.3])
    assert np.array_equal(again(*points), solution(*points), equal_nan=True)
    assert np.isnan(solution(*points)[1])


def test_a_free_constant_is_told():
    problem = on_disk("-div(grad(u)) = -2*y", "x*y*(1 + x)", FluxCondition("u"))
    solution = ct.solve(problem, FiniteElements(num_cells=100))
    assert not solution.result.ok
    assert "singular" in str(solution.result)
    assert "give its mean" in str(solution.result)


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (ct.problems.burgers(), "needs two space coordinates"),
        (ct.problems.gray_scott(), "needs walls on all sides"),
        (
            dataclasses.replace(
                NONLINEAR, equation=Equation("lap(lap(u)) = u", "u", PLANE), reference=None
            ),
            "cannot weaken the equation",
        ),
    ],
)
def test_what_it_does_not_take(problem, reason):
    assert reason in FiniteElements().supports(problem).reason


def test_pressures_need_the_second_degree():
    assert "degree=2" in FiniteElements(degree=1).supports(ct.problems.stokes()).reason


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FiniteElements(degree=3), "expected 1 or 2"),
        (lambda: FiniteElements(cells="hexagons"), "'triangles' or 'quadrilaterals'"),
        (
            lambda: ct.solve(
                on_disk("lap(u) = 0", "0", Condition("u", {0: 1.0})),
                FiniteElements(cells="quadrilaterals"),
            ),
            "Disk is meshed by triangles",
        ),
        (
            lambda: ct.solve(ct.problems.poisson_hole(), ct.methods.FiniteDifferences()),
            "needs a box, FiniteElements takes any region",
        ),
    ],
)
def test_messages(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)


def test_it_is_chosen_where_boxes_end():
    assert isinstance(best_classical(ct.problems.poisson_corner()), FiniteElements)
    assert isinstance(best_classical(ct.problems.stokes()), FiniteElements)
    assert "needs a box" in ct.methods.PINN().supports(ct.problems.poisson_corner()).reason
    assert "mean" in ct.methods.PINN().supports(ct.problems.stokes()).reason
    assert not isinstance(best_classical(ct.problems.poisson()), FiniteElements)
    assert Perforated().curved
