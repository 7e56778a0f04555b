"""The wake of a cylinder as an immersed boundary: shedding, drag, the size of the obstacle."""

import dataclasses
import functools
import pathlib

import numpy as np
import pytest
import scipy.integrate

from continua.core.errors import InputError
from continua.equations.projection import projection_form
from continua.methods.classical.spectral import Spectral
from continua.problems import parse_toml, to_toml
from continua.problems.library.fluids import _obstacle, cylinder_wake
from tests.methods.test_classical_periodic import computed


@functools.cache
def forces(reynolds, nodes, end):
    """Times, and drag and lift coefficients `2 int chi/eta v` at them."""
    problem = cylinder_wake(reynolds=reynolds, end=end)
    times = round(4 * end) + 1
    problem = dataclasses.replace(
        problem, reference=None, num_points={"t": times, "x": 16, "y": 16}
    )
    solution = computed(Spectral(num_points=nodes, dt=0.05, frames=1), problem)
    assert solution.result.ok
    spacing = 16 / nodes
    (low, _), count = problem.domain["x"], int(1 / spacing)
    x = low + spacing * (round(-low / spacing) + np.arange(-count, count + 1))
    y = spacing * np.arange(-count, count + 1)
    t, x, y = np.meshgrid(np.linspace(0, end, times), x, y, indexing="ij")
    resistance = np.exp(-(x**2 + y**2) / _obstacle(0.02, 1 / reynolds) ** 2) / 0.02
    velocity = solution.values(t, x, y)[:2]
    return t[:, 0, 0], 2 * np.sum(resistance * velocity, axis=(2, 3)) * spacing**2


def test_vortices_are_shed_as_often_as_is_known():
    t, (drag, lift) = forces(100.0, 96, 40.0)
    late = t > 18
    t, drag, lift = t[late], drag[late], lift[late]
    rising = np.flatnonzero((lift[:-1] < 0) & (lift[1:] >= 0))
    share = lift[rising] / (lift[rising] - lift[rising + 1])
    crossings = t[rising] + share * (t[1] - t[0])
    periods = np.diff(crossings)
    assert len(periods) >= 3
    np.testing.assert_allclose(periods, np.mean(periods), rtol=0.02)
    # 0.165 and 1.35 for a cylinder alone; a row of them 16 diameters apart is faster.
    assert 1 / np.mean(periods) == pytest.approx(0.181, abs=0.006)
    assert np.mean(drag) == pytest.approx(1.69, abs=0.06)
    assert 0.1 < np.max(np.abs(lift)) < 0.25


def test_a_shear_flow_would_rest_at_the_radius_of_the_cylinder():
    for eta, nu in ((0.02, 0.01), (0.01, 0.02)):
        a = _obstacle(eta, nu)

        def slope(s, y, a=a, k=1 / (eta * nu)):
            return [y[1], k * np.exp(-((s / a) ** 2)) * y[0]]

        start = [1.0, 1 / np.sqrt(eta * nu)]
        end = scipy.integrate.solve_ivp(slope, (0.0, 1.5), start, rtol=1e-10).y[:, -1]
        assert 1.5 - end[0] / end[1] == pytest.approx(0.5, abs=1e-5)


def test_it_is_a_flow_of_velocity_and_pressure_and_kept_in_files():
    problem = cylinder_wake(reynolds=80.0, size=12.0)
    form = projection_form(problem.equation)
    assert form is not None
    assert form.states == ("u", "v")
    assert parse_toml(to_toml(problem), pathlib.Path()) == problem
    assert Spectral().supports(problem).ok


def test_far_from_everything_the_stream_is_undisturbed():
    problem = dataclasses.replace(
        cylinder_wake(end=1.0), reference=None, num_points={"t": 3, "x": 16, "y": 16}
    )
    solution = computed(Spectral(num_points=64, dt=0.02, frames=1), problem)
    u, v = solution.values(1.0, np.full(5, -4.8), np.linspace(-7, 7, 5))[:2]
    np.testing.assert_allclose(u, 1, atol=0.06)
    np.testing.assert_allclose(v, 0, atol=0.06)
    inside = solution.values(1.0, np.zeros(1), np.zeros(1))[:2]
    assert np.abs(inside).max() < 0.2
    assert solution.result.ok


def test_numbers_that_make_no_wake_are_refused():
    with pytest.raises(InputError, match=r"cylinder_wake\.eta.* above zero"):
        cylinder_wake(eta=0.0)
    with pytest.raises(InputError, match=r"cylinder_wake\.size.* 8 diameters at least"):
        cylinder_wake(size=4.0)
