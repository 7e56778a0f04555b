"""Tikhonov's method and Gauss-Newton steps: closed forms, limits, gradients, convergence."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.classical.gauss_newton import GaussNewton, functional
from continua.methods.classical.linear_inverse import Linearised, Products, spectrum
from continua.methods.classical.tikhonov import Tikhonov
from continua.problems import pendulum
from continua.problems.inverse import Blur, InverseProblem, Radon

KEY = jax.random.key(0)
X = np.linspace(0, 1, 64)


def solve(method, problem) -> Solution:
    prepared = method.prepare(problem, key=KEY)
    return prepared.finish(prepared.program(prepared.inputs))


def make(forward, measurements, grid=None, **options):
    return InverseProblem(
        name="test",
        title="Test",
        forward=forward,
        measurements=measurements,
        grid={"x": X} if grid is None else grid,
        **options,
    )


def measured(forward, grid, truth, noise, seed=0):
    exact = np.asarray(forward(jnp.asarray(truth)))
    return exact + noise * np.random.default_rng(seed).standard_normal(exact.shape)


BUMP = np.exp(-(((X - 0.35) / 0.1) ** 2)) + 0.4 * np.sin(3 * X)


def deblurring(noise=0.01, seed=0, **options):
    y = measured(Blur(0.05).on({"x": X}), {"x": X}, BUMP, noise, seed)
    return make(Blur(0.05), y, **{"noise": noise, "truth": BUMP, **options})


def differences(x, order):
    """`L` written down anew."""
    matrix = np.eye(len(x))
    if order >= 1:
        matrix = np.diff(matrix, axis=0) / np.diff(x)[:, None]
    if order == 2:
        matrix = np.diff(matrix, axis=0) / ((x[2:] - x[:-2]) / 2)[:, None]
    return matrix


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("rows", [40, 15])
def test_tikhonov_equals_the_closed_form(order, rows):
    rng = np.random.default_rng(order)
    x = np.sort(rng.uniform(0, 5, 20))
    matrix, y = rng.standard_normal((rows, 20)), rng.standard_normal(rows)
    mean, noise, weight = rng.standard_normal(20), 0.3, 0.7
    problem = make(matrix, y, {"x": x}, noise=noise, prior_mean=mean)
    found = solve(Tikhonov(order, parameter=weight), problem)
    rough = differences(x, order)
    precision = matrix.T @ matrix / noise**2 + weight * rough.T @ rough
    exact = mean + np.linalg.solve(precision, matrix.T @ (y - matrix @ mean)) / noise**2
    assert np.abs(found(x) - exact).max() < 1e-10
    deviation = np.sqrt(np.diag(np.linalg.inv(precision)))
    assert np.abs(found.deviation(x)[0] - deviation).max() < 1e-10
    hat = np.trace(matrix @ np.linalg.solve(precision, matrix.T)) / noise**2
    assert abs(found.stats["effective"] - hat) < 1e-9


def test_penalties_of_two_axes_are_those_of_each():
    rng = np.random.default_rng(1)
    grid = {"x": np.sort(rng.uniform(0, 1, 6)), "y": np.sort(rng.uniform(0, 1, 5))}
    problem = make(np.eye(30), np.zeros(30), grid)
    for order in (1, 2):
        along = [differences(axis, order) for axis in grid.values()]
        exact = np.concatenate([np.kron(along[0], np.eye(5)), np.kron(np.eye(6), along[1])])
        assert np.abs(Products(problem, order).rough_matrix - exact).max() < 1e-9


def test_tikhonov_has_the_limits_of_least_squares_and_of_the_prior():
    rng = np.random.default_rng(2)
    matrix, y = rng.standard_normal((30, 12)), rng.standard_normal(30)
    x = np.arange(12.0)
    problem = make(matrix, y, {"x": x}, noise=1.0, prior_mean=x**2)
    plain = np.linalg.lstsq(matrix, y, rcond=None)[0]
    free = solve(Tikhonov(1, parameter=0.0), problem)
    assert np.abs(free(x) - plain).max() < 1e-11
    held = solve(Tikhonov(0, parameter=1e14), problem)
    assert np.abs(held(x) - x**2).max() < 1e-10
    # With first differences a constant costs nothing.
    level = matrix.sum(axis=1)
    shift = level @ (y - matrix @ x**2) / (level @ level)
    flat = solve(Tikhonov(1, parameter=1e13), problem)
    assert np.abs(flat(x) - x**2 - shift).max() < 1e-8


def test_the_discrepancy_principle_leaves_the_noise():
    problem = deblurring()
    for order in (1, 2):
        found = solve(Tikhonov(order), problem)
        gap = problem.predicted(found(X)) - problem.measurements
        assert abs(np.mean(gap**2) / problem.noise**2 - 1) < 1e-8
        assert found.result.ok
    assert not solve(Tikhonov(), dataclasses.replace(problem, noise=1e-4)).result.ok


@pytest.mark.parametrize("order", [0, 2])
def test_cross_validation_minimises_its_function(order):
    problem = dataclasses.replace(deblurring(0.02, 3), noise=None)
    found = solve(Tikhonov(order), problem)
    matrix = np.asarray(jax.jacfwd(problem.operator())(jnp.asarray(X)))
    rough = differences(X, order)

    def gcv(weight):
        hat = matrix @ np.linalg.solve(matrix.T @ matrix + weight * rough.T @ rough, matrix.T)
        gap = problem.measurements - hat @ problem.measurements
        return 64 * (gap @ gap) / np.trace(np.eye(64) - hat) ** 2

    best, here = found.stats["parameter"], gcv(found.stats["parameter"])
    assert all(gcv(best * f) > here * (1 + 1e-9) for f in (0.5, 0.97, 1.03, 2.0))
    assert all(gcv(best * f) > here for f in 10.0 ** np.arange(-4, 5) if f != 1)


def test_choices_recover_the_field():
    problem = deblurring()
    errors = {
        choice: solve(Tikhonov(2, choice=choice), problem).error(problem.reference)["relative_l2"]
        for choice in ("discrepancy", "gcv", "l_curve")
    }
    plain = solve(Tikhonov(0, parameter=1e-12), problem).error(problem.reference)["relative_l2"]
    # Measured: 0.027, 0.018, 0.018; 4e4 without a penalty.
    assert max(errors.values()) < 0.05
    assert plain > 100


def test_estimated_noise_is_near_the_true_one():
    known = deblurring(0.02)
    found = solve(Tikhonov(2), dataclasses.replace(known, noise=None))
    stated = solve(Tikhonov(2, parameter=found.stats["parameter"] / 0.02**2), known)
    assert np.abs(found(X) - stated(X)).max() < 1e-9
    ratio = found.deviation(X)[0] / stated.deviation(X)[0]
    assert np.ptp(ratio) < 1e-8
    assert abs(ratio[0] - 1) < 0.25  # of 64 values: 9 % a standard deviation


def test_deviations_are_those_of_the_bayesian_model():
    """Fields and noise drawn from the model: gaps over deviations are standard normal."""
    rng = np.random.default_rng(4)
    matrix, noise = rng.standard_normal((20, 30)), 0.5
    squares = []
    for _ in range(200):
        truth = rng.standard_normal(30) / 2
        y = matrix @ truth + noise * rng.standard_normal(20)
        model = spectrum(matrix / noise, np.eye(30), y / noise)
        gap = model.directions @ model.coordinates(4.0) - truth
        squares.append(np.mean(gap**2 / model.variance(4.0)))
    error = np.std(squares) / len(squares) ** 0.5
    assert abs(np.mean(squares) - 1) < 3.5 * error
    assert error < 0.03


def test_the_transpose_is_that_of_the_operator():
    axis = np.linspace(-1, 1, 16)
    problem = make(Radon((0.0, 50.0)), np.zeros((2, 16)), {"x": axis, "y": axis}, noise=0.3)
    model = Linearised(Products(problem, 2), np.zeros(256))
    rng = np.random.default_rng(5)
    v, w = rng.standard_normal(256), rng.standard_normal(32)
    assert abs(model.forward(v) @ w - v @ model.adjoint(w)) < 1e-10
    rough = model.rough(v)
    w = rng.standard_normal(len(rough))
    assert abs(rough @ w - v @ model.rough_adjoint(w)) < 1e-9 * np.linalg.norm(rough)
    assert np.abs(model.matrix() @ v - model.forward(v)).max() < 1e-11


@pytest.mark.parametrize("order", [0, 2])
def test_iterations_end_where_the_decomposition_does(order):
    problem = deblurring()
    weight = solve(Tikhonov(order), problem).stats["parameter"]
    dense, many = (solve(Tikhonov(order, parameter=weight, dense=d), problem) for d in (2000, 10))
    assert np.abs(dense(X) - many(X)).max() < 1e-6
    assert many.spread is None
    chosen = solve(Tikhonov(order, dense=10), problem)
    assert abs(chosen.stats["misfit"] - 1) < 1e-3
    assert abs(chosen.stats["parameter"] / weight - 1) < 1e-2


def test_tomography_by_iterations():
    axis = np.linspace(-1, 1, 24)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    truth = np.exp(-((x - 0.2) ** 2 + y**2) / 0.08)
    grid, operator = {"x": axis, "y": axis}, Radon(tuple(range(0, 180, 10)))
    data = measured(operator.on(grid), grid, truth, 0.01)
    problem = make(operator, data, grid, noise=0.01, truth=truth)
    found = solve(Tikhonov(2, dense=100), problem)
    assert found.error(problem.reference)["relative_l2"] < 0.1  # measured: 0.064


def test_a_constant_in_the_operator_is_taken_out():
    y = deblurring().measurements
    blur = Blur(0.05).on({"x": X})
    problem = make(lambda u: blur(u) + 3.0, y + 3.0, noise=0.01)
    one, other = (solve(Tikhonov(2, parameter=1e-4), p) for p in (problem, deblurring()))
    assert np.abs(one(X) - other(X)).max() < 1e-9


def test_a_direction_that_nothing_sees_is_told():
    y = np.ones(63)
    problem = make(lambda u: jnp.diff(u), y, noise=0.1)
    found = solve(Tikhonov(1), problem)
    assert not found.result.ok
    assert "neither measured nor penalised" in str(found.result)
    assert solve(Tikhonov(0, parameter=1.0), problem).result.ok


def test_what_is_not_supported_is_told():
    nonlinear = make(jnp.exp, np.ones(64))
    assert "linear forward operator" in Tikhonov().supports(nonlinear).reason
    unknown = dataclasses.replace(deblurring(), noise=None)
    short = make(np.eye(2), np.ones(2), {"x": np.arange(2.0)})
    assert "needs the noise" in Tikhonov(choice="discrepancy").supports(unknown).reason
    assert "at most 10" in Tikhonov(choice="gcv", dense=10).supports(unknown).reason
    assert "needs 3 nodes" in Tikhonov(2).supports(short).reason
    assert "or a parameter" in GaussNewton(dense=10).supports(unknown).reason
    for method in (Tikhonov(), GaussNewton()):
        assert "inverse problem" in method.supports(pendulum()).reason


def test_bad_settings_are_told():
    for make_one, message in (
        (lambda: Tikhonov(3), "Tikhonov.order: got 3; give 0, 1 or 2"),
        (lambda: Tikhonov(parameter=-1.0), "Tikhonov.parameter: got -1.0"),
        (lambda: Tikhonov(choice="lcurve"), "did you mean 'l_curve'"),
        (lambda: GaussNewton(decrease=1.0), "between 0 and 1"),
        (lambda: GaussNewton(iterations=0), "give 1 or more"),
    ):
        with pytest.raises(InputError, match=message):
            make_one()


def test_gauss_newton_is_tikhonov_where_the_operator_is_linear():
    problem = deblurring(prior_mean=0.3)
    for order in (0, 2):
        linear = solve(Tikhonov(order), problem)
        weight = linear.stats["parameter"]
        steps = solve(GaussNewton(order, parameter=weight), problem)
        assert np.abs(steps(X) - linear(X)).max() < 1e-10
        assert np.abs(steps.deviation(X) - linear.deviation(X)).max() < 1e-10
        assert steps.stats["steps"] <= 3


NODES = np.linspace(0, 1, 48)


def diffusion(log_coefficient):
    """`-(a u')' = 10`, `u = 0` at both ends, measured at every third node."""
    h = NODES[1] - NODES[0]
    a = jnp.exp(log_coefficient)
    between = (a[1:] + a[:-1]) / 2 / h**2
    nothing = jnp.zeros(1)
    off = -between[1:-1]
    u = jax.lax.linalg.tridiagonal_solve(
        jnp.concatenate([nothing, off]),
        between[1:] + between[:-1],
        jnp.concatenate([off, nothing]),
        jnp.full((len(NODES) - 2, 1), 10.0),
    )
    return u[::3, 0]


COEFFICIENT = 0.5 * np.sin(2 * np.pi * NODES)


def coefficient(noise, seed=0, **options):
    grid = {"x": NODES}
    y = measured(diffusion, grid, COEFFICIENT, noise, seed)
    return make(diffusion, y, grid, **{"noise": noise or None, "truth": COEFFICIENT, **options})


def test_the_gradient_is_that_of_finite_differences():
    products = Products(coefficient(0.01), 1)
    rng = np.random.default_rng(6)
    field, direction = rng.standard_normal((2, 48)) / 2
    _, slope = functional(products, field, 0.3)
    step = 1e-5
    ends = [functional(products, field + s * step * direction, 0.3)[0] for s in (1, -1)]
    difference = (ends[0] - ends[1]) / (2 * step)
    assert abs(difference / (slope @ direction) - 1) < 1e-6


def test_a_diffusion_coefficient_is_recovered():
    errors = []
    for noise in (1e-2, 1e-4):
        problem = coefficient(noise)
        found = solve(GaussNewton(2), problem)
        assert found.result.ok
        assert found.stats["misfit"] <= 1.01
        errors.append(found.error(problem.reference)["relative_l2"])
        matrix = np.asarray(jax.jacfwd(diffusion)(jnp.asarray(found(NODES)))) / noise
        rough = differences(NODES, 2)
        precision = matrix.T @ matrix + found.stats["parameter"] * rough.T @ rough
        variance = np.diag(np.linalg.inv(precision))
        assert np.abs(found.deviation(NODES)[0] ** 2 / variance - 1).max() < 1e-6
    # Measured: 0.22, 0.0077.
    assert errors[0] < 0.35
    assert errors[1] < 0.015


def test_gauss_newton_ends_where_the_gradient_vanishes():
    problem = coefficient(1e-3)
    for dense in (2000, 10):
        found = solve(GaussNewton(1, parameter=2.0, dense=dense), problem)
        assert found.result.ok
        products = Products(problem, 1)
        value, slope = functional(products, found(NODES), 2.0)
        _, at_start = functional(products, np.zeros(48), 2.0)
        assert np.linalg.norm(slope) < 1e-7 * np.linalg.norm(at_start)
        assert value < functional(products, COEFFICIENT, 2.0)[0]


def test_steps_converge_quadratically_without_noise():
    """Residual 0 and more measurements than unknowns: errors square from step to step."""
    x = np.linspace(0, 1, 5)
    truth = np.array([0.3, -0.2, 0.5, 0.1, -0.4])
    rng = np.random.default_rng(7)
    matrix = jnp.asarray(rng.standard_normal((12, 5)))

    def forward(u):
        return jnp.exp(0.3 * matrix @ u) + matrix @ u

    problem = make(forward, np.asarray(forward(jnp.asarray(truth))), {"x": x}, noise=1.0)
    errors = []
    for count in (1, 2, 3, 4):
        found = solve(GaussNewton(0, parameter=0.0, iterations=count), problem)
        errors.append(np.linalg.norm(found(x) - truth))
    assert errors[0] < 0.5
    for before, after in zip(errors, errors[1:], strict=False):
        assert after < max(0.5 * before**2, 1e-15)
    assert errors[-1] < 1e-13


def test_an_initial_state_is_recovered_from_later_data():
    """The heat equation backwards, by its spectrum; linear, so that both methods agree."""
    x = np.arange(64) / 64
    wave = 2 * np.pi * np.fft.rfftfreq(64, 1 / 64)

    def later(u):
        decay = jnp.asarray(np.exp(-0.002 * wave**2))
        return jnp.fft.irfft(decay.astype(complex) * jnp.fft.rfft(u), 64)

    truth = np.exp(-(((x - 0.4) / 0.12) ** 2))
    data = measured(later, {"x": x}, truth, 1e-3)
    problem = make(later, data, {"x": x}, noise=1e-3, truth=truth)
    assert problem.linear
    found = [solve(m, problem) for m in (Tikhonov(2), GaussNewton(2))]
    errors = [s.error(problem.reference)["relative_l2"] for s in found]
    assert max(errors) < 0.02  # measured: 0.0063, 0.0058


def test_too_few_steps_and_values_that_are_not_finite_are_told():
    few = solve(GaussNewton(2, iterations=2), coefficient(1e-3))
    assert "last of 2 steps" in str(few.result)
    bad = make(lambda u: jnp.log(u), np.zeros(64), noise=0.1, prior_mean=-1.0)
    found = solve(GaussNewton(), bad)
    assert found.result.code == "diverged"
    assert "its logarithm" in found.result.advice


def test_cross_validation_weighs_a_nonlinear_problem():
    problem = dataclasses.replace(coefficient(1e-2), noise=None)
    found = solve(GaussNewton(2), problem)
    assert found.result.ok
    assert found.error(problem.reference)["relative_l2"] < 0.6
    assert np.all(found.deviation(NODES) > 0)


def test_a_solution_is_saved_and_read(tmp_path):
    problem = deblurring()
    found = solve(Tikhonov(), problem)
    found.save(tmp_path)
    again = Solution.load(tmp_path)
    points = np.linspace(0, 1, 33)
    assert np.array_equal(again(points), found(points))
    assert np.array_equal(again.deviation(points), found.deviation(points))
