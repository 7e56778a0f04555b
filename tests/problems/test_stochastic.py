"""Stochastic problems: exact moments three ways, sampling within its error bars, mistakes."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.integrate import quad

from continua.core.errors import InputError
from continua.equations import Equation
from continua.methods.classical.stochastic import StochasticIntegrator
from continua.problems import lorenz
from continua.problems.library.stochastic import (
    cox_ingersoll_ross,
    double_well,
    geometric_brownian,
    heston,
    ornstein_uhlenbeck,
    stochastic_lorenz,
)
from continua.problems.moments import (
    MomentReference,
    SpectrumReference,
    moment_reference,
    with_moments,
)
from continua.problems.stochastic import StochasticProblem
from continua.solve import solve

KEY = jax.random.key(3)
SIGMAS = 5.0
T = np.linspace(0, 1, 11)


def scalar(drift, noise, start="1", **fields):
    return StochasticProblem(
        "test", "Test", Equation((f"x_t = {drift}",), ("x",), ("t",)), {"x": {"w": noise}},
        {"t": (0.0, 1.0)}, initial={"x": start}, **fields,
    )  # fmt: skip


def test_linear_processes_have_their_textbook_moments():
    mean, variance = ornstein_uhlenbeck().reference.values(T)
    np.testing.assert_allclose(mean, 0.5 + np.exp(-T), rtol=1e-13)
    np.testing.assert_allclose(variance, 0.18 * (1 - np.exp(-2 * T)), atol=1e-14)
    mean, variance = geometric_brownian().reference.values(T)
    np.testing.assert_allclose(mean, np.exp(0.05 * T), rtol=1e-13)
    np.testing.assert_allclose(variance, np.exp(0.1 * T) * np.expm1(0.04 * T), atol=1e-14)


def test_square_root_processes_have_their_textbook_moments():
    decay = np.exp(-2 * T)
    mean, variance = cox_ingersoll_ross().reference.values(T)
    np.testing.assert_allclose(mean, 0.04 + 0.05 * decay, rtol=1e-13)
    exact = 0.02 * 0.09 * (decay - decay**2) + 0.01 * 0.04 * (1 - decay) ** 2
    np.testing.assert_allclose(variance, exact, atol=1e-15)
    log, variance, _, _ = heston().reference.values(T)
    np.testing.assert_allclose(variance, mean, rtol=1e-13)
    np.testing.assert_allclose(log, 0.01 * T - 0.05 * (1 - decay) / 4, atol=1e-14)


def test_the_two_references_agree_where_both_are_right():
    problem = ornstein_uhlenbeck()
    bare = dataclasses.replace(problem, reference=None)
    assert isinstance(problem.reference, MomentReference)
    other = SpectrumReference(bare)
    np.testing.assert_allclose(other.values(T), problem.reference.values(T), atol=1e-12)
    assert other.error < 1e-11


def test_the_double_well_by_finite_volumes():
    """The Fokker-Planck equation by the scheme of Scharfetter and Gummel, refined once."""
    from scipy.linalg import expm

    def moments(cells):
        h = 6 / cells
        x = -3 + h * (np.arange(cells) + 0.5)
        diffusion, drift = 0.245, x[:-1] + h / 2 - (x[:-1] + h / 2) ** 3
        peclet = drift * h / diffusion
        up = diffusion / h**2 * peclet / -np.expm1(-peclet)
        down = diffusion / h**2 * peclet / np.expm1(peclet)
        matrix = np.diag(up, -1) + np.diag(down, 1)
        matrix -= np.diag(matrix.sum(axis=0))
        # The backward equation is its transpose; its starts are smooth.
        found = expm(matrix.T * 2.0) @ np.stack([x, x**2], axis=1)
        first, second = (np.polyval(np.polyfit(x[near] - 1, c[near], 5), 0.0) for c in found.T
                         for near in [np.argsort(abs(x - 1))[:8]])  # fmt: skip
        return np.array([first, second])

    few, many = 101, 203  # of which no wall lies where the drift is zero
    coarse, fine = moments(few), moments(many)
    ratio = (many / few) ** 2
    first, second = (ratio * fine - coarse) / (ratio - 1)
    mean, variance = double_well().reference.values(2.0)
    np.testing.assert_allclose([mean, variance], [first, second - first**2], rtol=2e-5)


def test_the_double_well_forgets_its_start():
    late = double_well()
    late = dataclasses.replace(late, domain={"t": (0.0, 200.0)})
    mean, variance = late.reference.values(200.0)
    density = lambda x: np.exp((x**2 - x**4 / 2) / 0.49)  # noqa: E731
    total = quad(density, -4, 4)[0]
    assert abs(mean) < 1e-12
    assert variance == pytest.approx(quad(lambda x: x**2 * density(x), -4, 4)[0] / total, rel=1e-10)
    assert late.reference.error < 1e-10


def test_references_follow_their_problem():
    numbers = {"theta": 2.0, "mu": 0.0, "sigma": 1.0}
    faster = dataclasses.replace(ornstein_uhlenbeck(), parameters=numbers)
    np.testing.assert_allclose(faster.reference.values(1.0)[0], 1.5 * np.exp(-2), rtol=1e-13)
    assert stochastic_lorenz().reference is None
    assert moment_reference(scalar("x^2", "x")) is None
    assert moment_reference(scalar("-t*x", "1")) is None
    assert isinstance(with_moments(scalar("-x", "1")).reference, MomentReference)
    with pytest.raises(InputError, match="known from 0 to 5"):
        ornstein_uhlenbeck().reference.values(6.0)


def test_stratonovich_noise_is_its_ito_form_with_another_drift():
    ito = with_moments(scalar("-0.5*x + 0.18*x", "0.6*x"))
    other = with_moments(scalar("-0.5*x", "0.6*x", interpretation="stratonovich"))
    np.testing.assert_allclose(other.reference.values(T), ito.reference.values(T), rtol=1e-13)
    assert " o dw" in other.formulas()[0]


def test_the_noise_is_recognised():
    words = {
        ornstein_uhlenbeck: "additive", geometric_brownian: "diagonal",
        cox_ingersoll_ross: "diagonal", heston: "general", stochastic_lorenz: "additive",
    }  # fmt: skip
    assert {make: make().noise_class() for make in words} == words
    equation = Equation(("x_t = -x", "y_t = -y"), ("x", "y"), ("t",))

    def of(noise):
        return StochasticProblem(
            "n", "N", equation, noise, {"t": (0, 1)}, initial={"x": "1", "y": "1"}
        ).noise_class()

    assert of({"x": {"w": "x"}, "y": {"w": "x*y"}}) == "scalar"
    assert of({"x": {"a": "x", "b": "2*x"}, "y": {"a": "y", "b": "2*y"}}) == "commutative"
    assert of({"x": {"a": "y"}, "y": {"b": "1"}}) == "general"


@pytest.mark.parametrize("make", [ornstein_uhlenbeck, cox_ingersoll_ross, double_well, heston])
def test_sampling_is_right_within_its_error_bars(make):
    problem = dataclasses.replace(make(), num_points={"t": 11})
    solution = solve(problem, StochasticIntegrator(paths=4096, steps=20), key=KEY)
    assert solution.result.ok
    assert solution.unknowns == problem.quantities
    t = problem.evaluation_grid()["t"][1:]
    exact = problem.reference.values(t)
    gap, error = solution.values(t) - exact, solution.deviation(t)
    assert np.all(np.abs(gap) < SIGMAS * error)
    assert np.all(error < 0.1)
    assert solution.evaluator.paths.shape == (32, 11, len(problem.equation.unknowns))


def test_steps_are_halved_until_their_bias_hides():
    problem = scalar("-20*x", "1", num_points={"t": 6})
    solution = solve(with_moments(problem), StochasticIntegrator(paths=1024), key=KEY)
    assert solution.stats["steps"] >= 20
    t = np.linspace(0, 1, 6)[1:]
    gap = solution.values(t) - moment_reference(problem).values(t)
    assert np.all(np.abs(gap) < SIGMAS * solution.deviation(t))


def test_standard_errors_fall_with_the_root_of_the_paths():
    problem = dataclasses.replace(ornstein_uhlenbeck(), num_points={"t": 3})
    few, many = (
        solve(problem, StochasticIntegrator(paths=n, steps=8), key=KEY).deviation(5.0)
        for n in (512, 8192)
    )
    np.testing.assert_allclose(few / many, 4, rtol=0.25)


def test_stochastic_lorenz_stays_on_its_attractor():
    problem = dataclasses.replace(stochastic_lorenz(end=1.0), num_points={"t": 3})
    solution = solve(problem, StochasticIntegrator(paths=256, steps=100), key=KEY)
    assert solution.result.ok
    assert 15 < solution.values(1.0)[2] < 35


def test_paths_that_explode_are_a_result_with_its_place():
    problem = scalar("x^3", "x", num_points={"t": 6})
    result = solve(problem, StochasticIntegrator(paths=64, steps=40), key=KEY).result
    assert result.code == "diverged"
    assert "a path of x" in result.message


def test_roots_and_stratonovich_noise_have_no_reference():
    other = dataclasses.replace(cox_ingersoll_ross(), interpretation="stratonovich")
    assert other.reference is None


def test_mistakes_are_one_line_with_the_place():
    good = ornstein_uhlenbeck()
    names = tuple(good.parameters)

    def change(**fields):
        return dataclasses.replace(good, reference=None, **fields)

    with pytest.raises(InputError, match="no unknown 'y'"):
        change(noise={"y": {"w": "1"}})
    with pytest.raises(InputError, match="noise.x.w: unknown symbol 'q'"):
        change(noise={"x": {"w": "q"}})
    with pytest.raises(InputError, match="no unknown is driven"):
        change(noise={})
    with pytest.raises(InputError, match="name its Brownian motions"):
        change(noise={"x": "sigma"})
    with pytest.raises(InputError, match="did you mean 'ito'"):
        change(interpretation="itos")
    with pytest.raises(InputError, match="no initial value of 'x'"):
        change(initial={})
    with pytest.raises(InputError, match="first order in time"):
        change(equation=Equation(("x_tt = theta*x + mu*sigma",), ("x",), ("t",), names))
    with pytest.raises(InputError, match="give 2 or more"):
        StochasticIntegrator(paths=1)
    with pytest.raises(InputError, match="needs a stochastic equation"):
        solve(lorenz(), StochasticIntegrator())
