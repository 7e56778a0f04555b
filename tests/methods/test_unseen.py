"""Problem files that no method was made for, against scipy without the library."""

import functools
import pathlib

import numpy as np
import pytest

from benchmarks.scipy_solutions import fitted_rate, scipy_solution
from continua.methods import FiniteDifferences, ParameterFit, Spectral
from continua.problems import load
from continua.solve import able, solve

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"
CASES = [
    ("sine_gordon", Spectral(), 1e-8),
    ("kdv_burgers", Spectral(num_points=256, dt=0.0025), 1e-6),
    ("two_species", FiniteDifferences(), 1e-6),
    ("cooling_rod", FiniteDifferences(), 1e-7),
    ("stiff_rate", ParameterFit(), 1e-4),
]


@functools.cache
def solved(name, method):
    return solve(load(EXAMPLES / f"{name}.toml"), method)


@pytest.mark.parametrize(("name", "method", "bound"), CASES, ids=[c[0] for c in CASES])
def test_classical_methods_agree_with_scipy(name, method, bound):
    problem = load(EXAMPLES / f"{name}.toml")
    reference = scipy_solution(name, problem)
    assert reference.error < bound / 10
    solution = solved(name, method)
    assert solution.result.ok
    assert solution.error(reference)["relative_l2"] < bound
    assert "PINN" in able(problem)


def test_a_recovered_rate_and_its_deviation_are_those_of_least_squares():
    problem = load(EXAMPLES / "stiff_rate.toml")
    found = solved("stiff_rate", ParameterFit()).parameters["k"]
    rate, deviation = fitted_rate(problem.data.points[:, 0], np.asarray(problem.data.values))
    np.testing.assert_allclose(found.value, rate, rtol=1e-3)
    np.testing.assert_allclose(found.std, deviation, rtol=0.05)
    assert abs(found.value - 0.04) < 3 * found.std  # the rate in Robertson's paper
