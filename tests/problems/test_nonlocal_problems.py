"""Problems with nonlocal terms: references, conservation, files."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from continua.methods.classical.chebyshev import Chebyshev
from continua.methods.classical.choose import best_classical
from continua.methods.classical.spectral import Spectral
from continua.problems import parse_toml, to_toml
from continua.problems.library.nonlocal_problems import (
    benjamin_ono,
    conserved_allen_cahn,
    fractional_heat,
)
from tests.methods.classical_problems import line, on_wall, walls

KEY = jax.random.key(0)
MAKERS = pytest.mark.parametrize("make", [fractional_heat, conserved_allen_cahn, benjamin_ono])


def computed(method, problem):
    prepared = method.prepare(problem, key=KEY)
    solution = prepared.finish(jax.jit(prepared.program)(prepared.inputs))
    assert solution.result.ok
    return solution


def mesh(problem):
    return np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")


@MAKERS
def test_a_file_holds_them(make):
    problem = make()
    assert parse_toml(to_toml(problem), pathlib.Path("nowhere")) == problem
    assert isinstance(best_classical(problem), Spectral)
    assert problem == make()


@pytest.mark.parametrize("s", [0.7, 1.0, 2.5])
def test_fractional_heat_is_exact_in_any_step(s):
    problem = fractional_heat(s=s)
    solution = computed(Spectral(num_points=16, dt=1.0, frames=1), problem)
    points = mesh(problem)
    np.testing.assert_allclose(solution(*points), problem.reference(*points), atol=1e-14)


def test_allen_cahn_keeps_its_mass():
    problem = conserved_allen_cahn(epsilon=0.6)
    problem = dataclasses.replace(problem, num_points={"t": 11, "x": 64})
    solution = computed(Spectral(num_points=64, dt=0.05, frames=1), problem)
    t, x = mesh(problem)
    found = solution(t, x)
    np.testing.assert_allclose(found.mean(axis=1), 0.2, atol=1e-13)
    assert np.abs(found[-1] - found[0]).max() > 0.3
    np.testing.assert_allclose(found, problem.reference(t, x), atol=1e-6)
    assert problem.reference.error < 1e-9


def test_a_wave_of_benjamin_and_ono_travels():
    problem = benjamin_ono(sigma=1.0)
    assert problem.reference.error < 1e-13
    t, x = mesh(problem)
    exact = problem.reference(t, x)
    errors = []
    for dt in (0.02, 0.01):
        solution = computed(Spectral(num_points=64, dt=dt, frames=1), problem)
        errors.append(np.abs(solution(t, x) - exact).max())
    assert 3.5 < np.log2(errors[0] / errors[1]) < 5.0
    assert errors[1] < 2e-6


def test_means_between_walls():
    """Mass between insulated walls, by sines and cosines and at Chebyshev's nodes."""
    still = on_wall("u", {1: 1.0})
    case = line(
        "u_t = u_xx/20 + u - u^3 - mean(u - u^3)",
        2.0,
        (0.0, 1.0),
        {"u": "cos(pi*x) + cos(3*pi*x)/4 + 1/5"},
        walls(still, still),
    )
    t, x = mesh(case)
    solution = computed(Spectral(num_points=32, dt=0.025, frames=1), case)
    other = computed(Chebyshev(num_points=25), case)(t, x)
    np.testing.assert_allclose(solution(t, x), other, atol=1e-6)
    fine = np.linspace(0.0, 1.0, 65)
    values = solution(np.full(65, 2.0), fine)
    mass = (values.sum() - (values[0] + values[-1]) / 2) / 64
    assert mass == pytest.approx(0.2, abs=1e-13)
