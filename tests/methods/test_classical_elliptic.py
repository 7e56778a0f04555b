"""Steady problems: multigrid, Newton-Krylov, means, and what each of them refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.results import ResultCode
from continua.core.solution import Solution
from continua.equations import Equation
from continua.methods.classical.diffusion import Wall, outflows, solve_diffusion
from continua.methods.classical.finite_differences import FiniteDifferences
from continua.methods.classical.linear import Direct, Krylov
from continua.methods.classical.multigrid import Multigrid, diffusion_form
from continua.methods.classical.multigrid_cycle import Level, cycle_of, layouts
from continua.methods.classical.steady import mean_weights
from continua.problems import Condition, Walls, heat, poisson
from continua.problems.library.elliptic import (
    bratu,
    darcy,
    darcy_two_phase,
    helmholtz,
    p_laplacian,
    poisson_neumann,
)
from continua.problems.library.linear import fixed
from continua.problems.sampled import SampledField
from continua.spaces import FiniteDifferenceSpace
from tests.methods.classical_problems import problem
from tests.methods.test_classical_periodic import computed

RIM = ((Wall(), Wall()), (Wall(), Wall()))
UNIT = (1.0, 1.0)


def error(method, case):
    mesh = np.meshgrid(*case.evaluation_grid().values(), indexing="ij")
    exact = case.reference.values(*mesh)[0]
    found = computed(method, case)
    return np.linalg.norm(found(*mesh) - exact) / np.linalg.norm(exact)


def permeabilities(count, nodes, spread=1.0):
    """Log-normal, smooth: the same functions on any grid."""
    rng = np.random.default_rng(3)
    x = np.cos(np.pi * np.outer(np.arange(6), np.linspace(0, 1, nodes)))
    decay = 1 / (1 + np.hypot(*np.meshgrid(np.arange(6), np.arange(6)))) ** 2
    heights = rng.standard_normal((count, 6, 6)) * decay
    fields = np.einsum("nij,ix,jy->nxy", heights, x, x)
    return np.exp(spread * fields / 0.6)


# The core: many samples


@pytest.fixture(scope="module")
def dirichlet():
    return jax.jit(lambda a, f: solve_diffusion(a, None, f, UNIT, RIM, rtol=1e-8))


def test_iterations_do_not_grow_with_the_grid(dirichlet):
    counts = {}
    for nodes in (17, 65):
        a = jnp.asarray(permeabilities(3, nodes, 1.5))
        found = dirichlet(a, jnp.ones_like(a))
        counts[nodes] = int(np.max(found.iterations))
        assert float(np.max(found.residual)) <= 1.001e-8
    assert max(counts.values()) <= 9
    assert counts[65] <= counts[17] + 1


def test_jumps_cost_a_bounded_number_of_iterations(dirichlet):
    rng = np.random.default_rng(1)
    blocks = np.kron(rng.random((3, 16, 16)) > 0.5, np.ones((4, 4)))
    a = np.pad(np.where(blocks > 0, 1e4, 1.0), ((0, 0), (0, 1), (0, 1)), mode="edge")
    found = dirichlet(jnp.asarray(a), jnp.ones_like(jnp.asarray(a)))
    assert np.max(found.iterations) <= 32
    assert np.max(found.residual) <= 1.001e-8


def test_the_solution_is_that_of_a_dense_system():
    rng = np.random.default_rng(0)
    shape, lengths = (9, 8), (1.0, 0.7)
    a, c, f = (jnp.asarray(rng.uniform(0.5, 2.0, (2, *shape))) for _ in range(3))
    walls = ((Wall(jnp.asarray(rng.standard_normal((1, 8)))), Wall(0.3, 2.0, False)), None)
    found = jax.jit(lambda a, c, f: solve_diffusion(a, c, f, lengths, walls, rtol=1e-12))(a, c, f)
    for k in range(2):
        matrix, right = np.zeros((72, 72)), np.zeros(72)
        number = np.arange(72).reshape(shape)
        h = (lengths[0] / 8, lengths[1] / 8)
        for i in range(9):
            width = h[0] / (2 if i in (0, 8) else 1)
            for j in range(8):
                row = number[i, j]
                if i == 0:
                    matrix[row, row], right[row] = 1.0, walls[0][0].value[0, j]
                    continue
                matrix[row, row] += c[k, i, j] * width * h[1]
                right[row] += f[k, i, j] * width * h[1]
                if i == 8:
                    matrix[row, row] += 2.0 * h[1]
                    right[row] += 0.3 * h[1]
                near = [(i - 1, j, h[1] / h[0]), (i + 1, j, h[1] / h[0])]
                near += [(i, (j + s) % 8, width / h[1]) for s in (-1, 1)]
                for p, q, scale in near:
                    if p <= 8:
                        mean = 2 / (1 / a[k, i, j] + 1 / a[k, p, q])
                        matrix[row, row] += scale * mean
                        matrix[row, number[p, q]] -= scale * mean
        exact = np.linalg.solve(matrix, right).reshape(shape)
        np.testing.assert_allclose(found.u[k], exact, atol=1e-10)


def test_flows_balance_in_every_volume(dirichlet):
    a = jnp.asarray(permeabilities(3, 17))
    u = dirichlet(a, jnp.ones_like(a)).u
    out = np.zeros((3, 15, 15))
    for axis in (0, 1):
        flows = np.moveaxis(np.asarray(outflows(a, u, UNIT, axis)), axis + 1, 1)[:, :, 1:-1]
        out += np.moveaxis(np.diff(flows, axis=1), 1, axis + 1)
    np.testing.assert_allclose(out, 1 / 16**2, rtol=1e-6)


def test_the_cycle_is_symmetric_and_positive():
    shape = (9, 9)
    plan = layouts(shape, (0.125, 0.125), (False, False), ((True, False), (False, False)))
    rng = np.random.default_rng(0)
    faces = tuple(jnp.asarray(rng.uniform(0.1, 5, (1, *s))) for s in ((8, 9), (9, 8)))
    level = Level(faces, jnp.asarray(rng.uniform(0, 0.1, (1, *shape))), plan[0])
    cycle = cycle_of(level, plan, False)
    units = jnp.eye(81).reshape(81, *shape)
    free = np.flatnonzero(plan[0].free())
    found = np.asarray(jax.jit(lambda b: cycle(b))(units)).reshape(81, 81)[np.ix_(free, free)]
    np.testing.assert_allclose(found, found.T, atol=1e-12 * np.abs(found).max())
    assert np.linalg.eigvalsh(found)[0] > 0
    matrix = np.asarray(level(units)).reshape(81, 81)[np.ix_(free, free)]
    spectrum = np.linalg.eigvals(found @ matrix).real
    # One cycle alone leaves less than a third of any error.
    assert spectrum.min() > 0.67
    assert spectrum.max() < 1.33


def test_gradients_are_those_of_finite_differences():
    rng = np.random.default_rng(0)
    a, c, f, way = (jnp.asarray(rng.uniform(0.5, 2, (1, 9, 9))) for _ in range(4))
    weight = jnp.asarray(rng.standard_normal((1, 9, 9)))

    @jax.jit
    def loss(a, c, f, g):
        walls = ((Wall(g), Wall(0.1, g**2, False)), (Wall(holds=False), Wall()))
        return jnp.sum(weight * solve_diffusion(a, c, f, UNIT, walls, rtol=1e-13).u ** 2)

    g = jnp.asarray(0.7)
    inputs = (a, c, f, g)
    slopes = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*inputs)
    for i, slope in enumerate(slopes):
        along = way if i < 3 else jnp.ones(())
        step = 1e-5

        def at(s, i=i, along=along):
            return loss(*(x + s * along if j == i else x for j, x in enumerate(inputs)))

        numerical = (at(step) - at(-step)) / (2 * step)
        assert float(jnp.sum(slope * along)) == pytest.approx(float(numerical), rel=1e-6)


def test_a_batch_is_a_loop_and_a_map(dirichlet):
    a = jnp.asarray(permeabilities(3, 17))
    f = jnp.asarray(np.random.default_rng(0).standard_normal((3, 17, 17)))
    together = dirichlet(a, f)

    def one(a, f):
        return solve_diffusion(a[None], None, f[None], UNIT, RIM).u[0]

    mapped = jax.jit(jax.vmap(one))(a, f)
    np.testing.assert_allclose(mapped, together.u, atol=1e-9)
    for k in range(3):
        alone = dirichlet(a[k : k + 1], f[k : k + 1])
        np.testing.assert_allclose(alone.u[0], together.u[k], atol=1e-12)
        assert int(alone.iterations[0]) == int(together.iterations[k])


def test_shared_coefficients_serve_many_right_sides(dirichlet):
    a = jnp.asarray(permeabilities(1, 17))
    f = jnp.asarray(np.random.default_rng(0).standard_normal((3, 17, 17)))
    shared = dirichlet(a, f).u
    each = dirichlet(jnp.tile(a, (3, 1, 1)), f).u
    np.testing.assert_allclose(shared, each, atol=1e-12)


def test_single_precision_samples(dirichlet):
    a = jnp.asarray(permeabilities(3, 17), jnp.float32)

    def loose(a):
        return solve_diffusion(a, None, jnp.ones_like(a), UNIT, RIM, rtol=1e-5)

    found, exact = jax.jit(loose)(a), dirichlet(a.astype(float), jnp.ones((3, 17, 17)))
    assert found.u.dtype == jnp.float32
    np.testing.assert_allclose(found.u, exact.u, atol=1e-5 * float(jnp.max(exact.u)))


def test_shapes_that_do_not_fit_are_told():
    a = jnp.ones((2, 9, 9))
    with pytest.raises(InputError, match=r"f has the shape \(2, 9, 8\) and a \(2, 9, 9\)"):
        solve_diffusion(a, None, jnp.ones((2, 9, 8)), UNIT, RIM)
    with pytest.raises(InputError, match="a has 2 axes for 1 lengths"):
        solve_diffusion(a, None, a, (1.0,), RIM)
    wide = jnp.ones((1, 60, 60))
    with pytest.raises(InputError, match="59 x 59 cells cannot be halved to fewer than 750"):
        solve_diffusion(wide, None, wide, UNIT, RIM)


# The method


@pytest.mark.parametrize(("make", "bound"), [(darcy, 3e-5), (darcy_two_phase, 3e-4)])
def test_order_two_and_two_discretisations_that_agree(make, bound):
    case = dataclasses.replace(make(), num_points={"x": 33, "y": 33})
    mesh = np.meshgrid(*case.evaluation_grid().values(), indexing="ij")
    exact, size = case.reference(*mesh), np.linalg.norm(case.reference(*mesh))
    coarse, fine = (computed(Multigrid(n), case) for n in (33, 65))
    errors = [np.linalg.norm(s(*mesh) - exact) / size for s in (coarse, fine)]
    assert 3.6 < errors[0] / errors[1] < 4.6
    assert fine.stats["estimated_error"] == pytest.approx(errors[1], rel=0.2)
    assert fine.stats["linear_iterations"] <= min(10, coarse.stats["linear_iterations"] + 1)
    # Finite volumes, extrapolated, against the collocation that is the reference.
    best = fine(*mesh) + (fine(*mesh) - coarse(*mesh)) / 3
    assert np.linalg.norm(best - exact) < bound * size
    assert case.reference.error < 0.1 * errors[1]


def test_given_slopes_and_the_estimate_of_the_error():
    case = poisson_neumann()
    mesh = np.meshgrid(*case.evaluation_grid().values(), indexing="ij")
    found = computed(Multigrid(33), case)
    gap = np.linalg.norm(found(*mesh) - case.reference(*mesh))
    gap /= np.linalg.norm(case.reference(*mesh))
    assert found.stats["estimated_error"] == pytest.approx(gap, rel=0.2)
    assert found.stats["imbalance"] < 1e-14
    assert found.stats["linear_iterations"] <= 10
    assert found.result.ok


def line_problem(text, walls, **options):
    return problem(text, ("u",), ("x",), {"x": (0.0, 1.0)}, {}, {"x": walls}, **options)


def test_jumps_in_one_dimension_are_exact_at_nodes():
    # Layers of 1 and 100 in series; the jump lies on a face, half way between two nodes.
    case = line_problem(
        "-d(k*u_x, x) = 0",
        fixed("u", "0", "1"),
        parameters={"k": 3.0},
    )
    x = np.linspace(0, 1, 33)
    np.testing.assert_allclose(computed(Multigrid(33), case)(x), x, atol=1e-9)
    a = jnp.asarray(np.where(np.arange(33) < 16, 1.0, 100.0)[None])
    ends = ((Wall(), Wall(1.0)),)
    u = jax.jit(lambda a: solve_diffusion(a, None, 0 * a, (1.0,), ends, rtol=1e-13).u[0])(a)
    place = 15.5 / 32
    resistance = place + (1 - place) / 100
    exact = np.where(x < place, x, place + (x - place) / 100) / resistance
    np.testing.assert_allclose(u, exact, atol=1e-10)


def test_three_dimensions_periodic_axes_and_exchange():
    names = ("x", "y", "z")
    exact = "sin(pi*x)*cos(2*pi*y)*cos(pi*z)"
    case = problem(
        "-lap(u) + 3*u = (6*pi^2 + 3)*" + exact,
        ("u",),
        names,
        dict.fromkeys(names, (0.0, 1.0)),
        {},
        {
            "x": fixed("u", "0", "0"),
            "y": "periodic",
            "z": Walls((Condition("u", {1: 1.0}, "0"),), (Condition("u", {0: 2.0, 1: 1.0},
                       "-2*sin(pi*x)*cos(2*pi*y)"),)),
        },
        num_points=dict.fromkeys(names, 9),
    )  # fmt: skip
    mesh = np.meshgrid(*case.evaluation_grid().values(), indexing="ij")
    x, y, z = mesh
    wanted = np.sin(np.pi * x) * np.cos(2 * np.pi * y) * np.cos(np.pi * z)
    found = computed(Multigrid(17), case)
    gap = np.linalg.norm(found(*mesh) - wanted) / np.linalg.norm(wanted)
    assert gap < 0.02
    # Two grids, of which the error of the coarse one is four times that of the fine one.
    assert found.stats["estimated_error"] == pytest.approx(gap, rel=0.2)


def test_known_fields_are_permeabilities(tmp_path):
    x = np.linspace(0, 1, 33)
    samples = 1 + 0.5 * np.add.outer(x, x**2)
    field = SampledField(("x", "y"), {"x": x, "y": x}, samples)
    walls = {c: fixed("u", "x + y", "x + y") for c in "xy"}
    text = ("-d(k*u_x, x) - d(k*u_y, y) = -1/2 - y",)
    equation = Equation(text, ("u",), ("x", "y"), fields={"k": field})
    case = dataclasses.replace(poisson(), equation=equation, boundary=walls, reference=None)
    assert not isinstance(diffusion_form(case), str)
    found = computed(Multigrid(33), case)
    mesh = np.meshgrid(x, x, indexing="ij")
    np.testing.assert_allclose(found(*mesh), np.add.outer(x, x), atol=1e-4)
    found.save(tmp_path)
    np.testing.assert_array_equal(Solution.load(tmp_path)(*mesh), found(*mesh))


def test_multigrid_says_what_it_cannot_do():
    def reason(case):
        support = Multigrid().supports(case)
        assert not support.ok
        return support.reason

    assert "steady" in reason(heat())
    assert "not linear" in reason(bratu())
    assert "c = -400 at x = 0" in reason(helmholtz())
    mixed = problem(
        "u_xx + u_yy + u_xy = 0", ("u",), ("x", "y"), dict.fromkeys("xy", (0.0, 1.0)), {},
        {c: fixed("u", "0", "0") for c in "xy"},
    )  # fmt: skip
    assert "one function a" in reason(mixed)
    assert "one function a" in reason(line_problem("-u_xx + 5*u_x = 1", fixed("u", "0", "0")))
    wall = Walls((Condition("u", {0: 1.0, 1: 1.0}),), (Condition("u", {0: 1.0}),))
    assert "grow by itself" in reason(line_problem("-u_xx = 1", wall))
    assert "order two" in reason(
        line_problem(
            "u_xxxx = 1", Walls(*[(Condition("u", {0: 1.0}), Condition("u", {1: 1.0}))] * 2)
        )
    )
    with pytest.raises(InputError, match="cannot be halved"):
        Multigrid(60).prepare(poisson(), key=jax.random.key(0))
    case = dataclasses.replace(poisson_neumann(), means={}, reference=None)
    with pytest.raises(InputError, match=r"free up to a constant.*means=\{'u': 0.0\}"):
        Multigrid(17).prepare(case, key=jax.random.key(0))


def unbalanced():
    equation = dataclasses.replace(poisson_neumann().equation, definitions={"f": "x"})
    return dataclasses.replace(poisson_neumann(), equation=equation, reference=None)


@pytest.mark.parametrize("method", [Multigrid(17), FiniteDifferences(17)], ids=["mg", "fd"])
def test_sources_that_do_not_balance_are_told(method):
    result = computed(method, unbalanced()).result
    assert result.code == ResultCode.not_converged
    assert "do not balance" in result.message


# Newton's method with factors and with Krylov methods


@pytest.mark.parametrize("preconditioner", ["multigrid", "ilu"])
@pytest.mark.parametrize("make", [poisson, bratu, darcy])
def test_krylov_methods_reach_the_solution_of_factors(make, preconditioner):
    case = dataclasses.replace(make(), reference=None)
    method = FiniteDifferences(33, 4, linear=Krylov(preconditioner=preconditioner))
    found, direct = computed(method, case), computed(FiniteDifferences(33), case)
    assert found.result.ok
    assert found.stats["linear_iterations"] > 0 == direct.stats["linear_iterations"]
    assert found.stats["residual"] < 1e-6
    mesh = np.meshgrid(*case.evaluation_grid().values(), indexing="ij")
    np.testing.assert_allclose(found(*mesh), direct(*mesh), atol=1e-8)


def test_newton_krylov_on_a_quasilinear_equation():
    case = p_laplacian()
    method = FiniteDifferences(33, linear=Krylov(preconditioner="ilu"))
    found = computed(method, case)
    assert found.result.ok
    assert found.stats["nonlinear_iterations"] <= 15
    assert error(method, case) < 1e-7


def test_orders_with_a_mean():
    case = poisson_neumann()
    for order, ratio in ((2, 4.0), (4, 16.0)):
        coarse, fine = (error(FiniteDifferences(n, order), case) for n in (33, 65))
        assert 0.8 * ratio < coarse / fine < 2.5 * ratio
    shifted = dataclasses.replace(case, means={"u": 2.0}, reference=None)
    x = np.linspace(0, 1, 7)
    apart = computed(FiniteDifferences(33), shifted)(x, x) - computed(FiniteDifferences(33), case)(
        x, x
    )
    np.testing.assert_allclose(apart, 2.0, atol=1e-9)


def test_a_free_constant_is_told_and_a_fixed_one_takes_no_mean():
    case = dataclasses.replace(poisson_neumann(), means={}, reference=None)
    result = computed(FiniteDifferences(17), case).result
    assert result.code == ResultCode.not_converged
    assert "'u' is free up to a constant" in result.message
    assert "means={'u': 0.0}" in result.advice
    given = dataclasses.replace(poisson(), means={"u": 0.0}, reference=None)
    with pytest.raises(InputError, match="means.u: 'u' is fixed by the equation and its"):
        computed(FiniteDifferences(17), given)


@pytest.mark.parametrize("order", [2, 4, 6])
def test_weights_of_means_are_exact_for_polynomials(order):
    space = FiniteDifferenceSpace(("x",), (0.0,), (1.0,), (33,), (False,), order)
    x = space.nodes(0)
    for power in range(order + 1):
        assert mean_weights(space, 0) @ x**power == pytest.approx(1 / (power + 1), abs=1e-13)
    ring = FiniteDifferenceSpace(("x",), (0.0,), (1.0,), (33,), (True,), order)
    np.testing.assert_allclose(mean_weights(ring, 0), 1 / 33)


def test_errors_are_estimated_where_nodes_are_given():
    for case in (bratu(), p_laplacian()):
        found = computed(FiniteDifferences(65), case)
        ratio = found.stats["estimated_error"] / error(FiniteDifferences(65), case)
        assert 0.3 < ratio < 3


def test_what_does_not_converge_has_advice():
    case = helmholtz()
    found = computed(FiniteDifferences(33, linear=Krylov(max_iterations=30)), case)
    assert found.result.code == ResultCode.not_converged
    assert "gmres left a residual" in found.result.message
    assert "ilu" in found.result.advice
    assert isinstance(FiniteDifferences().linear, Direct)
