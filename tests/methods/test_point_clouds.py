"""Point clouds as a method: orders, exact solutions, conditions, steps in time, failures."""

import dataclasses

import numpy as np
import pytest

import continua as ct
from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.equations import Equation
from continua.methods import FiniteElements, best_classical
from continua.methods.classical.element_steps import _Stepper
from continua.methods.classical.linear import Direct, Krylov
from continua.methods.classical.point_clouds import RadialBasisFiniteDifferences, solve_cloud
from continua.problems import (
    Condition,
    Disk,
    EquationProblem,
    FluxCondition,
    FormulaReference,
    Perforated,
    Walls,
)
from continua.spaces.point_cloud import PointCloud
from continua.spaces.scatter import cloud_in_region

PLANE = ("x", "y")
Method = RadialBasisFiniteDifferences


def error_of(problem, method):
    solution = ct.solve(problem, method, throw=True)
    return solution.error(problem.reference)["relative_l2"], solution


def system_of(problem, method):
    """The equation at the points of a method."""
    return method._system(problem, method._generated(problem, method.num_points), method.degree)


def errors_of(problem, counts, **options):
    """Errors without the solutions on fewer points that estimate them."""
    found = []
    for count in counts:
        method = Method(num_points=count, **options)
        system = system_of(problem, method)
        solution = method._solution(problem, system, method._run(system), np.nan)
        assert solution.result.ok
        found.append(solution.error(problem.reference)["relative_l2"])
    return found


def on_region(expression, exact, parts, region=None, **options):
    region = Disk() if region is None else region
    parts = parts if isinstance(parts, dict) else dict.fromkeys(region.labels, parts)
    time = options.get("domain") is not None
    names = ("t", *PLANE) if time else PLANE
    options = {"domain": {}, **options}
    definitions = options.pop("definitions", {})
    return EquationProblem(
        name="region",
        title="Region",
        equation=Equation(expression, "u", names, definitions=definitions),
        geometry=region,
        boundary=parts,
        reference=FormulaReference({"u": exact}, names),
        num_points={"x": 33, "y": 33, **({"t": 6} if time else {})},
        **options,
    )


def in_box(expression, exact, names, sides, **options):
    """On the unit box, the same conditions on both sides of an axis."""
    return EquationProblem(
        name="box",
        title="Box",
        equation=Equation(expression, "u", names, **options),
        domain=dict.fromkeys(names, (0.0, 1.0)),
        boundary={c: Walls((side,), (side,)) for c, side in zip(names, sides, strict=True)},
        reference=FormulaReference({"u": exact}, names),
        num_points=dict.fromkeys(names, 9 if len(names) == 3 else 33),
    )


WAVE = "sin(2*x + 3*y)*exp(x)"
SOURCE = "-12*sin(2*x + 3*y)*exp(x) + 4*cos(2*x + 3*y)*exp(x)"
VALUE = Condition("u", {0: 1.0}, WAVE)


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
@pytest.mark.parametrize("where", ["disk", "box"])
def test_order_of_poisson(where, degree):
    # An even degree gives its own order, an odd one that of the degree below.
    if where == "disk":
        problem = on_region(f"lap(u) = {SOURCE}", WAVE, VALUE)
    else:
        problem = in_box(f"lap(u) = {SOURCE}", WAVE, PLANE, (VALUE, VALUE))
    errors = errors_of(problem, (250, 2250), degree=degree)
    assert np.log(errors[0] / errors[1]) / np.log(3) > degree - degree % 2 - 0.3


def test_slopes_on_a_curved_boundary_are_exact_for_polynomials():
    exact, slope = "2*x^2*y + x*y", "6*x^2*y + 2*x*y"
    mixed = Condition("u", {0: 2.0, 1: 3.0}, f"2*({exact}) + 3*({slope})")
    assert errors_of(on_region("lap(u) = 4*y", exact, mixed), (200,))[0] < 1e-10
    bare = on_region("lap(u) = 4*y", exact, Condition("u", {1: 1.0}, slope), means={"u": 0.0})
    # The mean is taken by quadrature on cells that are bent like the boundary.
    assert errors_of(bare, (200,))[0] < 1e-6


def test_order_with_a_flux_on_a_curved_boundary():
    flux = "-(1 + y^2)*(x*(2*cos(2*x + 3*y) + sin(2*x + 3*y)) + 3*y*cos(2*x + 3*y))*exp(x)"
    problem = on_region(
        "-div((1 + y^2)*grad(u)) + u = f",
        WAVE,
        FluxCondition("u", flux),
        definitions={"f": f"-(1 + y^2)*({SOURCE}) - 6*y*cos(2*x + 3*y)*exp(x) + {WAVE}"},
    )
    errors = errors_of(problem, (250, 1500))
    assert 2 * np.log(errors[0] / errors[1]) / np.log(6) > 3.7
    assert errors[1] < 1e-4


def test_an_equation_that_is_no_divergence():
    exact = "exp(x)*cos(2*y)"
    source = (
        "exp(x)*((1 + x^2)*cos(2*y) - 2*x*y*sin(2*y) - 4*(2 + sin(y))*cos(2*y) + y*cos(2*y)"
        " - cos(2*y))"
    )
    problem = on_region(
        f"(1 + x^2)*u_xx + x*y*u_xy + (2 + sin(y))*u_yy + y*u_x - u = {source}",
        exact,
        Condition("u", {0: 1.0}, exact),
    )
    errors = errors_of(problem, (250, 1500))
    assert 2 * np.log(errors[0] / errors[1]) / np.log(6) > 3.5
    assert errors[1] < 3e-6


def test_the_estimate_is_about_the_error():
    problem = ct.problems.poisson_hole()
    error, solution = error_of(problem, Method(num_points=700))
    assert error < 1e-3
    assert 0.5 * error < solution.stats["estimated_error"] < 6 * error
    assert "the error in space is estimated" in solution.result.message


def test_a_nonlinear_flux():
    # x y + 1 is harmonic, which leaves (1 + u^2)' |grad u|^2; held exactly.
    problem = on_region(
        "div((1 + u^2)*grad(u)) = 2*u*(x^2 + y^2)", "x*y + 1", Condition("u", {0: 1.0}, "x*y + 1")
    )
    error, solution = error_of(problem, Method(num_points=100, degree=2))
    assert error < 1e-9
    assert 3 <= solution.stats["steps"] <= 10


def test_it_agrees_with_finite_elements():
    problem = ct.problems.poisson_hole()
    points = ct.solve(problem, Method(num_points=1300), throw=True)
    elements = ct.solve(problem, FiniteElements(num_cells=1600, adaptive=False), throw=True)
    assert points.error(elements)["relative_l2"] < 2e-4
    assert np.isnan(points(0.0, 0.0))


def test_points_that_crowd_at_a_corner():
    problem = ct.problems.poisson_corner()
    (even,) = errors_of(problem, (1000,))
    (dense,) = errors_of(problem, (1000,), spacing="(x^2 + y^2)^0.33 + 0.02")
    assert dense < 1e-3 < even / 3


def test_systems():
    problem = ct.problems.elasticity()
    coarse, fine = errors_of(problem, (500, 1800))
    assert fine < 4e-3 < coarse / 3


def test_nonlinear_on_a_line():
    problem = ct.problems.bratu()
    error, solution = error_of(problem, Method())
    assert error < 1e-6
    assert solution.stats["steps"] <= 6
    assert error < 5 * solution.stats["estimated_error"] < 5e-5


def test_jacobian_is_the_slope_of_the_residual():
    problem = on_region(
        "div((1 + u^2)*grad(u)) + u*u_x = 1", "0", FluxCondition("u", "x"), means={}
    )
    system = system_of(problem, Method(num_points=120, degree=2))
    z = np.random.default_rng(0).standard_normal((2, system.size))
    slope = system.jacobian(0.0, z[0]) @ z[1]
    found = system.residual(0.0, z[0] + 1e-6 * z[1]) - system.residual(0.0, z[0] - 1e-6 * z[1])
    assert np.max(np.abs(found / 2e-6 - slope)) < 1e-6 * np.max(np.abs(slope))


def test_free_constants():
    problem = ct.problems.poisson_neumann()
    assert errors_of(problem, (400,))[0] < 2e-3
    without = ct.solve(dataclasses.replace(problem, means={}), Method(num_points=50))
    assert "means={'u': 0.0}" in str(without.result)
    tilted = dataclasses.replace(problem, equation=Equation("-lap(u) = 1", "u", PLANE))
    found = ct.solve(dataclasses.replace(tilted, reference=None), Method(num_points=50))
    assert "do not balance" in str(found.result)


def test_three_dimensions():
    exact = "sin(x + 2*y)*exp(z)"
    value, slope = Condition("u", {0: 1.0}, exact), Condition("u", {1: 1.0}, exact)
    problem = in_box(f"lap(u) = -4*{exact}", exact, ("x", "y", "z"), (value, value, slope))
    errors = errors_of(problem, (250, 1000), degree=2)
    assert np.log2(errors[0] / errors[1]) / 2 * 3 > 1.7
    assert errors[1] < 4e-3


def test_krylov_agrees_with_factors():
    method = Method(num_points=400)
    system = system_of(ct.problems.poisson_hole(), method)
    direct, iterated = (
        solve_cloud(system, linear).frames[0] for linear in (Direct(), Krylov(preconditioner="ilu"))
    )
    assert np.linalg.norm(iterated - direct) < 1e-8 * np.linalg.norm(direct)


def test_heat_in_a_disk():
    # Cubic in space: what is left is the error in time.
    problem = ct.problems.heat_disk()
    (loose,) = errors_of(problem, (100,), rtol=1e-4, atol=1e-6)
    (tight,) = errors_of(problem, (100,), rtol=1e-7, atol=1e-9)
    assert tight < 1e-7 < loose / 10


def test_order_in_time():
    system = system_of(ct.problems.heat_disk(), Method(num_points=100))
    x, y = system.space.cloud.points.T
    exact = np.exp(-1.0) * (x * x - y * y + x * y) + y * (1 + np.cos(1.0))
    errors = []
    for count in (16, 32, 64):
        stepper, z = _Stepper(system, 1e-6, 1e-8), system.start(0.0)
        for i in range(count):
            z, _, _ = stepper.step(i / count, z, 1.0 / count)
        errors.append(np.max(np.abs(z - exact)))
    assert np.log2(errors[0] / errors[1]) > 3.3
    assert np.log2(errors[1] / errors[2]) > 3.5


@pytest.mark.parametrize("degree", [2, 4, 6])
def test_no_mode_grows(degree):
    # Eigenvalues of heat with insulated sides and a cold hole, conditions eliminated.
    cold, tight = Condition("u", {0: 1.0}), Condition("u", {1: 1.0})
    region = Perforated()
    parts = {label: cold if label == "hole" else tight for label in region.labels}
    problem = on_region(
        "u_t = lap(u)", "0", parts, region, domain={"t": (0.0, 1.0)}, initial={"u": "0"}
    )
    system = system_of(problem, Method(num_points=300, degree=degree))
    full, rim = -system.jacobian(0.0, system.start(0.0)).toarray(), system.bound
    inner = full[~rim][:, ~rim] - full[~rim][:, rim] @ np.linalg.solve(
        full[rim][:, rim], full[rim][:, ~rim]
    )
    assert np.linalg.eigvals(inner).real.max() < -0.5


def test_a_reaction_with_a_part_that_does_not_move():
    # u diffuses and v does not: v has no conditions and obeys its equation everywhere.
    problem = EquationProblem(
        name="reaction",
        title="Reaction",
        equation=Equation(("u_t = lap(u) + v", "v_t = -v + u - u"), ("u", "v"), ("t", *PLANE)),
        domain={"t": (0.0, 1.0)},
        geometry=Disk(),
        initial={"u": "x*y - 1", "v": "1"},
        boundary={"rim": Condition("u", {1: 1.0}, "2*x*y")},
        num_points={"t": 6, "x": 17, "y": 17},
    )
    solution = ct.solve(problem, Method(num_points=100), throw=True)
    found = solution.values(np.array([0.5, 1.0]), 0.3, 0.2)
    assert np.allclose(found[1], np.exp([-0.5, -1.0]), atol=1e-6)
    assert np.allclose(found[0], 0.06 - np.exp([-0.5, -1.0]), atol=1e-6)


def test_a_cloud_that_is_given():
    problem = ct.problems.poisson_hole()
    cloud = cloud_in_region(problem.geometry, 800)
    error, solution = error_of(problem, Method(cloud=cloud))
    (same,) = errors_of(problem, (800,))
    assert abs(error / same - 1) < 1e-6
    assert error < solution.stats["estimated_error"]
    assert "PointCloud(" in repr(Method(cloud=cloud))
    assert all(rung.cloud is None for rung in Method(cloud=cloud).ladder(problem))


def test_save_and_load(tmp_path):
    solution = ct.solve(ct.problems.poisson_hole(), Method(num_points=150, degree=2))
    solution.save(tmp_path)
    again = Solution.load(tmp_path)
    points = np.array([0.5, 0.0, 0.9]), np.array([0.5, 0.0, -0.3])
    assert np.array_equal(again(*points), solution(*points), equal_nan=True)


def test_the_ladder_descends():
    problem = ct.problems.poisson_hole()
    rungs = Method().ladder(problem)
    assert len(rungs) == 5
    errors = errors_of(problem, [rung.num_points for rung in rungs[:3]])
    assert all(fine < coarse / 2 for coarse, fine in zip(errors, errors[1:], strict=False))


def test_it_is_chosen_where_nothing_else_can():
    value = Condition("u", {0: 1.0}, "x*y*z")
    windy = in_box("lap(u) + u_x = y*z", "x*y*z", ("x", "y", "z"), (value, value, value))
    assert isinstance(best_classical(windy), Method)
    for problem in (ct.problems.poisson(), ct.problems.poisson_hole(), ct.problems.heat()):
        assert not isinstance(best_classical(problem), Method)


def walls(condition):
    return Walls((condition,), (condition,))


WALL = walls(Condition("u", {0: 1.0}))
TIME = {"t": (0.0, 1.0), "x": (0.0, 1.0)}


def plain(expression, names, domain, boundary, **options):
    return EquationProblem(
        name="plain",
        title="Plain",
        equation=Equation(expression, "u", names),
        domain=domain,
        boundary=boundary,
        **options,
    )


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (ct.problems.burgers(), "needs walls on all sides"),
        (ct.problems.sod(), "transport and waves are for Spectral, FiniteVolumes"),
        (ct.problems.stokes(), "needs each unknown in its own equation"),
        (
            plain("u_tt = u_xx", ("t", "x"), TIME, {"x": WALL}, initial={"u": "0", "u_t": "0"}),
            "needs one time derivative of every unknown",
        ),
        (
            plain("u_t = -u_xx", ("t", "x"), TIME, {"x": WALL}, initial={"u": "0"}),
            "negative somewhere",
        ),
        (
            plain(
                "u_xx - u_yy = 0",
                PLANE,
                dict.fromkeys(PLANE, (0.0, 1.0)),
                dict.fromkeys(PLANE, WALL),
            ),
            "hyperbolic, as a wave is",
        ),
        (
            plain(
                "lap(u) + u_xxy = 0",
                PLANE,
                dict.fromkeys(PLANE, (0.0, 1.0)),
                dict.fromkeys(PLANE, WALL),
            ),
            "at most second order",
        ),
    ],
)
def test_what_it_does_not_take(problem, reason):
    assert reason in Method().supports(problem).reason


HOLE = ct.problems.poisson_hole()
ROUND = on_region("lap(u) = 0", "0", Condition("u", {1: 1.0, 0: 1.0}))
RIM = cloud_in_region(Disk(), 60)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Method(degree=1), "expected 2 or more"),
        (lambda: Method(num_points=0), "expected 1 or more"),
        (lambda: Method(num_points=100, cloud=RIM), "a cloud has its own points"),
        (lambda: ct.solve(HOLE, Method(num_points=20)), "take 34 points, and there are"),
        (lambda: ct.solve(HOLE, Method(spacing="x")), "'x' is not positive"),
        (
            lambda: ct.solve(ct.problems.heat_disk(), Method(spacing="1 + t")),
            "points stay where they are in time",
        ),
        (lambda: ct.solve(HOLE, Method(cloud=RIM)), "no points on the part 'left'; its parts"),
        (
            lambda: ct.solve(ROUND, Method(cloud=PointCloud(RIM.points, RIM.boundary))),
            "takes a normal, and the point",
        ),
        (
            lambda: ct.solve(
                dataclasses.replace(ct.problems.poisson(), means={"u": 0.0}),
                Method(num_points=100),
            ),
            "'u' is fixed by the equation and its conditions",
        ),
    ],
)
def test_messages(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)
