"""References of gas dynamics with shocks: against exact solutions, and what they refuse."""

import dataclasses
import pathlib

import numpy as np
import pytest

from continua import problems
from continua.problems import parse_toml, shu_osher, sod, to_toml
from continua.problems.numerical import numerical_reference
from continua.problems.solve_shock import ShockReference, _solved, shock_reference, solve_shock


def bare(problem, **changes):
    return dataclasses.replace(problem, reference=None, **changes)


def mesh_of(problem):
    return np.meshgrid(*problem.evaluation_grid().values(), indexing="ij")


@pytest.fixture(scope="module")
def tube():
    """Sod's tube on 400 cells, and what is exact."""
    problem = bare(sod(), num_points={"t": 6, "x": 200})
    return ShockReference(problem, 400), sod().reference, mesh_of(problem)


def test_the_estimate_of_the_error_is_that_of_the_exact_solution(tube):
    found, exact, mesh = tube
    a, b = found.values(*mesh), exact.values(*mesh)
    error = np.linalg.norm(a - b) / np.linalg.norm(b)
    assert 1e-3 < error < 2e-2
    assert error / 3 < found.error < 5 * error
    assert "400 cells" in found.evidence


def test_away_from_jumps_it_is_much_better(tube):
    found, exact, _ = tube
    x = np.linspace(0.55, 0.65, 50)  # between fan and contact
    np.testing.assert_allclose(found.values(0.2, x), exact.values(0.2, x), rtol=2e-3)


def test_between_frames_the_same_steps_go_on(tube):
    found, exact, _ = tube
    x = np.linspace(0.1, 0.9, 60)
    gap = np.abs(found.values(0.13, x) - exact.values(0.13, x))
    assert np.mean(gap) < 0.01
    np.testing.assert_allclose(found.values(0.0, x), exact.values(0.0, x), rtol=1e-14)


def test_mass_and_energy_are_conserved_and_momentum_grows_by_pressure(tube):
    averages = _solved(tube[0])[0]
    rho, m, e = averages.frames.mean(axis=2).T
    np.testing.assert_allclose(rho, (1 + 0.125) / 2, rtol=1e-12)
    np.testing.assert_allclose(e, (1 + 0.1) / 0.8, rtol=1e-12)
    np.testing.assert_allclose(m, 0.9 * averages.times, rtol=1e-12, atol=1e-15)


def test_shu_osher_has_the_reference_and_keeps_it_in_files():
    problem = shu_osher()
    assert isinstance(problem.reference, ShockReference)
    assert problem.reference == numerical_reference(problem)
    again = parse_toml(to_toml(problem), pathlib.Path())
    assert again == problem
    assert getattr(again, "reference", None) == problem.reference
    later = dataclasses.replace(problem, domain={"t": (0.0, 2.0), "x": (-5.0, 5.0)})
    assert isinstance(later.reference, ShockReference)
    assert later.reference != problem.reference


def test_nodes_of_shu_osher_keep_away_from_its_shocks():
    problem = shu_osher()
    short = bare(problem, num_points={"t": 10, "x": 180})
    x, dx = problem.evaluation_grid()["x"], 10 / 1600
    frames = solve_shock(short, 1600).frames[1:, 0]
    centres = -5 + dx * (np.arange(1600) + 0.5)
    for density in frames:
        # The main shock is where the last steep slope is steepest.
        steep = np.abs(density[3:] - density[:-3])
        last = np.flatnonzero(steep > 0.5)[-1]
        place = last - 8 + np.argmax(steep[last - 8 : last + 1])
        front = (centres[place] + centres[place + 3]) / 2
        assert np.min(np.abs(x - front)) > 0.6 * dx


def test_four_shocks_have_a_reference_that_is_symmetric():
    problem = problems.quadrants()
    assert isinstance(problem.reference, ShockReference)
    assert problem.reference.cells == 256
    found = solve_shock(bare(problem, num_points={"t": 3, "x": 9, "y": 9}), 24)
    turned = found.frames[:, [0, 2, 1, 3]].swapaxes(2, 3)
    np.testing.assert_allclose(found.frames, turned, rtol=1e-11, atol=1e-12)
    # Away from the shocks are the states of the start, but for what coarse jumps sent out.
    np.testing.assert_allclose(found.frames[-1, :, -1, -1], [1.5, 0, 0, 3.75], atol=0.1)
    np.testing.assert_allclose(found.frames[1, 0, 1, -1], 0.5323, atol=0.02)


def test_other_laws_and_walls_have_none():
    assert shock_reference(bare(problems.dam_break())) is None
    assert shock_reference(bare(problems.burgers())) is None
    assert shock_reference(bare(problems.acoustics())) is None
    walled = problems.Walls((problems.Condition("m", {0: 1.0}),), ())
    assert shock_reference(bare(sod(), boundary={"x": walled})) is None
    assert isinstance(shock_reference(bare(sod(gamma=5 / 3))), ShockReference)
