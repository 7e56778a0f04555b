"""Steady problems of the library: references against the equations, and each other."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import sympy

from continua.core.errors import InputError
from continua.equations.parse import Scope, coordinate_symbol, parameter_symbol, parse_expression
from continua.problems import poisson
from continua.problems.library.elliptic import (
    bratu,
    darcy,
    darcy_two_phase,
    helmholtz,
    p_laplacian,
    poisson_neumann,
)
from continua.problems.read_toml import parse_toml
from continua.problems.reference import FormulaReference
from continua.problems.solve_elliptic import EllipticReference, elliptic_reference
from continua.problems.write_toml import to_toml

EXACT = {
    "helmholtz": helmholtz(),
    "helmholtz, k = 7": helmholtz(k=7.0),
    "poisson_neumann": poisson_neumann(),
    "p_laplacian": p_laplacian(),
    "p_laplacian, p = 1.5": p_laplacian(p=1.5, epsilon=0.2),
    "p_laplacian, p = 2": p_laplacian(p=2.0),
    "bratu": bratu(),
    "bratu, lam = 3.5": bratu(lam=3.5),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact_solutions_obey_equation_and_conditions(name):
    case = EXACT[name]
    equation = case.equation
    (text,) = case.reference.formulas.values()
    scope = Scope(equation.coordinates, (), equation.parameters)
    exact: Any = parse_expression(text, scope, where="exact")
    numbers: Any = {parameter_symbol(k): v for k, v in case.parameters.items()}
    symbols = [coordinate_symbol(c) for c in equation.coordinates]
    unknown = sympy.Function("u", real=True)(*symbols)
    symbolic: Any = equation.symbolic[0]
    residual = symbolic.subs(unknown, exact).doit().subs(numbers)
    function = sympy.lambdify(symbols, residual, "numpy")
    slopes = {
        c: [sympy.lambdify(symbols, sympy.diff(exact, s, k).subs(numbers), "numpy") for k in (0, 1)]
        for c, s in zip(equation.coordinates, symbols, strict=True)
    }
    rng = np.random.default_rng(0)
    points = np.array(
        [rng.uniform(case.domain[c][0], case.domain[c][1], 40) for c in equation.coordinates]
    )
    size = max([1.0, *(abs(v) ** 2 for v in case.parameters.values())])
    np.testing.assert_allclose(function(*points), 0, atol=1e-11 * size)
    for axis, c in enumerate(equation.coordinates):
        walls = case.boundary[c]
        for end, (condition,) in zip(case.domain[c], (walls.lower, walls.upper), strict=True):
            at = points.copy()
            at[axis] = end
            parsed: Any = parse_expression(condition.value, scope, where="g")
            wanted = parsed.subs(numbers)
            found = sum(a * slopes[c][k](*at) for k, a in condition.coefficients.items())
            given = sympy.lambdify(symbols, wanted, "numpy")(*at)
            np.testing.assert_allclose(found, given * np.ones(40), atol=1e-12 * size)


def test_the_mean_of_the_neumann_problem_is_the_one_given():
    x, w = np.polynomial.legendre.leggauss(20)
    nodes = (x + 1) / 2
    values = poisson_neumann().reference(*np.meshgrid(nodes, nodes, indexing="ij"))
    assert abs(w @ values @ w / 4) < 1e-14


def test_bratu_takes_the_lower_solution():
    assert bratu(lam=1.0).reference(np.array(0.5)) == pytest.approx(0.140539214400, abs=1e-11)
    assert float(bratu(lam=3.5).reference(np.array(0.5))) < 1.19


def test_collocation_against_an_exact_solution():
    reference: Any = elliptic_reference(dataclasses.replace(poisson(), reference=None))
    small = EllipticReference(reference.problem, (18, 24))
    mesh = np.meshgrid(np.linspace(0, 1, 13), np.linspace(0, 1, 11), indexing="ij")
    np.testing.assert_allclose(small(*mesh), poisson().reference(*mesh), atol=1e-11)
    assert small.error < 1e-10
    assert small.evidence == "Chebyshev collocation with 24 nodes an axis against 18"


def test_collocation_with_slopes_on_walls():
    case = dataclasses.replace(helmholtz(k=3.0), reference=None)
    lower, upper = (case.boundary["x"].lower, case.boundary["x"].upper)
    slope = "k*(3/5*cos(k*(3*x + 4*y)/5) - 12/13*sin(k*(12*x - 5*y)/13))"
    upper = (dataclasses.replace(upper[0], coefficients={1: 2.0}, value=f"2*{slope}"),)
    sides = dataclasses.replace(case.boundary["x"], lower=lower, upper=upper)
    case = dataclasses.replace(case, boundary={**case.boundary, "x": sides})
    found = EllipticReference(case, (16, 20))
    x = np.linspace(0, 1, 9)
    np.testing.assert_allclose(found(x, x**2), helmholtz(k=3.0).reference(x, x**2), atol=1e-9)


def test_darcy_is_reproducible_and_has_its_spread():
    assert darcy() == darcy(seed=0)
    assert darcy(seed=1) != darcy()
    assert isinstance(darcy().reference, EllipticReference)
    scope = Scope(("x", "y"), (), ())
    x = (np.arange(64) + 0.5) / 64
    mesh = np.meshgrid(x, x, indexing="ij")

    def permeability(case):
        text = parse_expression(case.equation.definitions["a"], scope, where="a")
        return sympy.lambdify([coordinate_symbol(c) for c in "xy"], text, "numpy")(*mesh)

    for sigma in (0.5, 1.0):
        logs = np.log(permeability(darcy(sigma=sigma)))
        assert np.std(logs) == pytest.approx(sigma, rel=1e-6)
        assert abs(np.mean(logs)) < 1e-8
    a = permeability(darcy_two_phase(width=0.05))
    assert 3 <= a.min() < 3.001
    assert 11.999 < a.max() <= 12


@pytest.mark.parametrize("make", [*EXACT, "darcy", "darcy_two_phase"])
def test_files_give_the_same_problem(make, tmp_path):
    case = EXACT.get(make) or {"darcy": darcy, "darcy_two_phase": darcy_two_phase}[make]()
    again: Any = parse_toml(to_toml(case), tmp_path)
    assert again == case
    if isinstance(case.reference, FormulaReference):
        assert again.reference == case.reference


def test_numerical_references_follow_their_problem():
    case = darcy()
    other = dataclasses.replace(case, domain={"x": (0.0, 1.0), "y": (0.0, 2.0)})
    assert isinstance(other.reference, EllipticReference)
    assert other.reference.problem.domain["y"] == (0.0, 2.0)
    assert elliptic_reference(bratu()) is None
    assert elliptic_reference(poisson_neumann()) is None


def test_what_is_refused():
    with pytest.raises(InputError, match=r"bratu.lam: lam = 4 has no steady solution; take more"):
        bratu(lam=4.0)
    with pytest.raises(InputError, match=r"p_laplacian.p: p = 1 is not above 1"):
        p_laplacian(p=1.0)
    with pytest.raises(InputError, match=r"epsilon: epsilon = 0 is not positive"):
        p_laplacian(epsilon=0.0)
    with pytest.raises(InputError, match=r"sigma: sigma = -1 is not positive"):
        darcy(sigma=-1.0)
    with pytest.raises(InputError, match=r"width: width = 0 is not positive"):
        darcy_two_phase(width=0.0)
