"""The problems of the library: complete, plausible, found by name."""

import dataclasses

import numpy as np
import pytest

from continua.core.errors import InputError
from continua.problems import (
    PROBLEMS,
    AbstractReference,
    SeriesProblem,
    allen_cahn,
    burgers,
    get,
    heat,
    pelt_counts,
)

EQUATIONS = [name for name, make in PROBLEMS.items() if make().kind == "equation"]


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_problem_says_what_it_is(name):
    problem = get(name)
    assert problem.name == name
    assert problem.title
    assert problem.citation
    assert problem.notes
    assert problem.kind in ("equation", "stochastic", "series", "family")
    assert problem == PROBLEMS[name]()
    hash(problem)


@pytest.mark.parametrize("name", EQUATIONS)
def test_every_equation_has_a_reference(name):
    problem = get(name)
    assert isinstance(problem.reference, AbstractReference)


@pytest.mark.parametrize("name", ["heat", "advection", "poisson", "burgers", "lorenz"])
def test_references_have_the_shape_of_their_grid(name):
    problem = get(name)
    mesh = np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")
    values = problem.reference.values(*mesh)
    assert values.shape == (len(problem.equation.unknowns), *mesh[0].shape)
    assert np.all(np.isfinite(values))
    assert 0 < problem.reference.error < 1e-9
    assert problem.reference.evidence


def test_the_names_are_suggested():
    with pytest.raises(InputError, match="unknown problem 'burger'; did you mean 'burgers'"):
        get("burger")


def test_parameters_can_be_chosen():
    assert burgers(nu=0.1).parameters == {"nu": 0.1}
    assert burgers(nu=0.1) != burgers()
    rod = heat(kappa=0.5)
    np.testing.assert_allclose(
        rod.reference(0.3, 0.5),
        np.exp(-0.15 * np.pi**2) - np.exp(-1.35 * np.pi**2) / 2,
        rtol=1e-13,
    )


def test_the_smooth_allen_cahn_state_closes_its_period():
    text = allen_cahn(smooth=True).initial["u"]
    assert text != allen_cahn().initial["u"]
    assert allen_cahn(smooth=True).domain == allen_cahn().domain


def test_pelt_counts_hold_five_years_out():
    problem = pelt_counts()
    assert isinstance(problem, SeriesProblem)
    (later,) = problem.held_out()
    np.testing.assert_array_equal(later.t, np.arange(1916, 1921))
    assert len(problem.training()[0].t) == 16
    assert set(problem.unknown_parameters) == {"a", "b", "c", "e"}
    free = pelt_counts(known=False)
    assert free.equation is None
    assert free.series == problem.series
    assert dataclasses.replace(problem, split=None) != problem
