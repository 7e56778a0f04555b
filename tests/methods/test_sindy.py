"""Sparse regression of dynamics and classical parameter fits."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.equations import Equation
from continua.methods.classical.parameter_fit import ParameterFit
from continua.methods.dynamics import SINDy
from continua.methods.dynamics.library import Library, equation_text
from continua.methods.dynamics.sindy import relaxed, thresholded
from continua.problems import (
    EquationProblem,
    Measurements,
    Series,
    SeriesProblem,
    Unknown,
)

KEY = jax.random.key(0)
A, B, C, E = 0.55, 0.028, 0.026, 0.84


def hunters(t, y):
    return [A * y[0] - B * y[0] * y[1], C * y[0] * y[1] - E * y[1]]


def lorenz(t, y):
    return [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]


def simulate(field, start, t):
    return solve_ivp(field, (t[0], t[-1]), start, t_eval=t, rtol=1e-11, atol=1e-11).y.T


def series(*pairs, variables=("x", "y"), split=1e9, equation=None, unknown=None):
    return SeriesProblem(
        name="test",
        title="Test",
        variables=variables,
        time="t",
        series=tuple(Series(name=str(i), t=t, y=y) for i, (t, y) in enumerate(pairs)),
        split=split,
        equation=equation,
        unknown_parameters=unknown or {},
    )


def solve(method, problem):
    prepared = method.prepare(problem, key=KEY)
    return prepared.finish(prepared.program(prepared.inputs))


def test_lotka_volterra_is_recovered_from_clean_data():
    t = np.linspace(0, 20, 401)
    y = simulate(hunters, [30, 4.0], t)
    solution = solve(SINDy(), series((t, y), split=15.0))
    assert solution.equations == (
        "x_t = 0.55*x - 0.028*x*y",
        "y_t = -0.84*y + 0.026*x*y",
    )
    found = [solution.parameters[n].value for n in ("x_t: x", "x_t: x*y", "y_t: y")]
    np.testing.assert_allclose(found, [A, -B, -E], rtol=1e-6)
    held_out = t > 15
    np.testing.assert_allclose(solution.values(t).T[held_out], y[held_out], rtol=1e-4, atol=1e-4)


def test_lorenz_is_recovered_from_clean_data():
    t = np.linspace(0, 5, 1001)
    y = simulate(lorenz, [1.0, 1.0, 1.0], t)
    problem = series((t, y), variables=("x", "y", "z"))
    solution = solve(SINDy(), problem)
    expected = {
        "x_t: x": -10, "x_t: y": 10, "y_t: x": 28, "y_t: y": -1,
        "y_t: x*z": -1, "z_t: z": -8 / 3, "z_t: x*y": 1,
    }  # fmt: skip
    assert set(solution.parameters) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(solution.parameters[name].value, value, rtol=1e-3)


def test_several_series_with_gaps_and_noise():
    rng = np.random.default_rng(0)
    pairs = []
    for start in ([30, 4.0], [20, 20.0], [50, 10.0]):
        t = np.sort(rng.uniform(0, 15, 120))
        y = simulate(hunters, start, t) * np.exp(0.01 * rng.normal(size=(120, 2)))
        y[rng.random(y.shape) < 0.1] = np.nan
        y[0] = start
        pairs.append((t, y))
    solution = solve(SINDy(threshold=0.1), series(*pairs))
    assert set(solution.parameters) == {"x_t: x", "x_t: x*y", "y_t: y", "y_t: x*y"}
    np.testing.assert_allclose(solution.parameters["x_t: x"].value, A, rtol=0.05)
    assert solution.coordinates == ("series", "t")
    assert np.all(np.isfinite(solution.values(np.zeros(3), np.array([5.0, 6.0, 7.0]))))


def test_thresholding_finds_the_exact_support():
    rng = np.random.default_rng(1)
    left = rng.normal(size=(200, 8))
    exact = np.array([0, 2.0, 0, 0, -1.5, 0, 0, 0])
    right = left @ exact + 1e-3 * rng.normal(size=200)
    found = thresholded(left, right, 0.05)
    assert set(np.flatnonzero(found)) == {1, 4}
    np.testing.assert_allclose(found, exact, atol=1e-3)


def test_library_names_and_values_agree():
    library = Library(("x", "y"), degree=2, waves=True)
    assert library.names[:6] == ["1", "x", "y", "x^2", "x*y", "y^2"]
    y = np.array([[2.0, 3.0]])
    np.testing.assert_allclose(library(y)[0, :6], [1, 2, 3, 4, 6, 9])
    np.testing.assert_allclose(library(y)[0, 6:], [*np.sin(y[0]), *np.cos(y[0])])
    assert Library(("x", "y"), degree=1).names_times("y") == ["y", "x*y", "y^2"]
    text = equation_text("x", np.array([0.5, 0, -2.0]), ["1", "x", "y"])
    assert text == "x_t = 0.5 - 2*y"


def test_a_classical_fit_recovers_parameters_and_initial_state():
    t = np.linspace(0, 12, 25)
    y = simulate(hunters, [30, 4.0], t)
    equation = Equation(
        (
            "x_t = a*x - b*x*y",
            "y_t = c*x*y - e*y",
        ),
        (
            "x",
            "y",
        ),
        ("t",),
        (
            "a",
            "b",
            "c",
            "e",
        ),
    )
    unknown = {
        name: Unknown(start=start, lower=0.0, upper=np.inf)
        for name, start in zip("abce", (0.5, 0.02, 0.02, 0.7), strict=True)
    }
    problem = series((t, y), split=10.0, equation=equation, unknown=unknown)
    solution = solve(ParameterFit(), problem)
    found = [solution.parameters[name].value for name in "abce"]
    np.testing.assert_allclose(found, [A, B, C, E], rtol=1e-3)
    np.testing.assert_allclose(solution.values(t).T, y, rtol=1e-2)


def test_deviations_of_a_linear_fit_are_the_textbook_ones(tmp_path):
    # y = y0 exp(-k t) compared in logarithms is a straight line.
    rng = np.random.default_rng(2)
    t = np.linspace(0, 3, 40)
    y = np.exp(1.0 - 0.7 * t + 0.1 * rng.normal(size=40))[:, None]
    equation = Equation(("u_t = -k*u",), ("u",), ("t",), ("k",))
    unknown = {"k": Unknown(start=0.2, lower=-np.inf, upper=np.inf)}
    problem = series((t, y), variables=("u",), equation=equation, unknown=unknown)
    solution = solve(ParameterFit(positive=True), problem)
    (slope, _), covariance = np.polyfit(t, np.log(y[:, 0]), 1, cov=True)
    np.testing.assert_allclose(solution.parameters["k"].value, -slope, rtol=1e-5)
    np.testing.assert_allclose(solution.parameters["k"].std, np.sqrt(covariance[0, 0]), rtol=1e-3)
    assert np.all(solution.deviation(t) > 0)
    save_tree(tmp_path / "solution", solution.evaluator)
    again = load_tree(tmp_path / "solution")
    np.testing.assert_array_equal(again(t[:, None]), solution.evaluator(t[:, None]))


def test_a_stiff_rate_is_recovered():
    t = np.concatenate([[0], np.geomspace(0.01, 100, 30)])

    def robertson(t, y):
        fast, slow = 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return [-0.04 * y[0] + fast, 0.04 * y[0] - fast - slow, slow]

    y = solve_ivp(robertson, (0, 100), [1, 0, 0], "Radau", t, rtol=1e-9, atol=1e-12).y.T
    equation = Equation(
        (
            "a_t = -k*a + 1e4*b*c",
            "b_t = k*a - 1e4*b*c - 3e7*b^2",
            "c_t = 3e7*b^2",
        ),
        (
            "a",
            "b",
            "c",
        ),
        ("t",),
        ("k",),
    )
    problem = series(
        (t, y[:, [0, 2]]),
        variables=("a", "c"),
        equation=equation,
        unknown={"k": Unknown(start=0.1, lower=0.0, upper=np.inf)},
    )
    solution = solve(ParameterFit(), problem)
    np.testing.assert_allclose(solution.parameters["k"].value, 0.04, rtol=1e-5)


def test_the_rate_of_an_equation_problem_is_recovered_from_its_measurements():
    t = np.linspace(0.1, 2, 15)
    problem = EquationProblem(
        name="decay",
        title="Decay",
        equation=Equation(("u_tt = -k*u - u_t",), ("u",), ("t",), ("k",)),
        domain={"t": (0.0, 2.0)},
        unknown_parameters={"k": Unknown(start=5.0, lower=0.0, upper=100.0)},
        initial={"u": "1", "u_t": "-0.5"},
        data=Measurements(
            points=t[:, None],
            values=(np.exp(-t / 2) * np.cos(3 * t))[:, None],
        ),
        num_points={"t": 21},
    )
    assert ParameterFit().supports(problem).ok
    solution = solve(ParameterFit(), problem)
    np.testing.assert_allclose(solution.parameters["k"].value, 9.25, rtol=1e-5)
    exact = np.exp(-solution.grid["t"] / 2) * np.cos(3 * solution.grid["t"])
    np.testing.assert_allclose(solution.values(solution.grid["t"])[0], exact, atol=1e-4)


@pytest.mark.parametrize("method", [SINDy(), ParameterFit()])
def test_other_problems_are_refused_with_a_reason(method):
    support = method.supports(object())
    assert not support.ok
    assert "series" in support.reason


def candidates(seed=0, noise=0.02):
    """Rows of nine candidates, of which three make what is seen, and that."""
    rng = np.random.default_rng(seed)
    left = rng.standard_normal((400, 9)) @ (np.eye(9) + 0.3 * rng.standard_normal((9, 9)))
    exact = np.zeros(9)
    exact[[1, 4, 7]] = 1.0, -0.6, 0.35
    return left, left @ exact + noise * rng.standard_normal(400), exact


def test_a_relaxed_problem_is_solved_to_a_fixed_point():
    left, right, exact = candidates()
    threshold, relaxation = 0.2, 0.5
    found = relaxed(left, right, threshold, relaxation)
    np.testing.assert_array_equal(found != 0, exact != 0)
    np.testing.assert_allclose(found, exact, atol=0.01)
    # What is left of the gradient in the terms that stay vanishes: they are least squares.
    kept = found != 0
    np.testing.assert_allclose(left[:, kept].T @ (left @ found - right), 0.0, atol=1e-9)
    scale = np.array([2.0, 1e3, 1.0, 0.1, 1e-4, 1.0, 5.0, 7.0, 1.0])
    other = relaxed(left * scale, 3.0 * right, threshold, relaxation)
    np.testing.assert_allclose(other, 3.0 * found / scale, rtol=1e-9)


def test_sparse_fits_are_those_of_pysindy():
    pysindy = pytest.importorskip("pysindy")
    left, right, _ = candidates(noise=0.3)
    left /= np.sqrt((left**2).mean(axis=0))
    right /= np.sqrt((right**2).mean())
    for threshold in (0.05, 0.2):
        theirs = pysindy.STLSQ(threshold=threshold, alpha=0.0, max_iter=20).fit(left, right)
        np.testing.assert_allclose(thresholded(left, right, threshold), theirs.coef_[0], atol=1e-10)
        for relaxation in (0.2, 1.0):
            theirs = pysindy.SR3(
                reg_weight_lam=threshold**2 / (2 * relaxation),
                relax_coeff_nu=relaxation,
                regularizer="L0",
                max_iter=10_000,
                tol=1e-14,
                unbias=True,
            ).fit(left / np.sqrt(len(left)), right / np.sqrt(len(left)))
            np.testing.assert_allclose(
                relaxed(left, right, threshold, relaxation), theirs.coef_[0], atol=1e-8
            )


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_both_optimisers_find_the_same_equations(noise):
    t = np.linspace(0, 20, 401)
    y = simulate(hunters, [30, 4.0], t)
    y = y * (1 + noise * np.random.default_rng(0).standard_normal(y.shape))
    found = [
        solve(SINDy(optimiser=name, members=10), series((t, y), split=15.0)).parameters
        for name in ("stlsq", "sr3")
    ]
    assert set(found[0]) == set(found[1])
    for name, estimate in found[0].items():
        assert found[1][name].value == pytest.approx(estimate.value, rel=0.05)


def test_another_optimiser_is_refused():
    with pytest.raises(InputError, match="sr3"):
        SINDy(optimiser="sr4")
    with pytest.raises(InputError, match="relaxation"):
        SINDy(optimiser="sr3", relaxation=0.0)
