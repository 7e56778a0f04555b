"""Conservation laws of the library: published states, jump conditions, other formulas."""

import numpy as np
import pytest

from continua.core.errors import InputError
from continua.problems import acoustics, dam_break, inviscid_burgers, shock_tube, sod
from continua.problems.exact_riemann import gas_star, water_star

# Toro (2009), tables 4.1 to 4.3: states, then p*, u*, rho*L, rho*R.
PUBLISHED = [
    ((1.0, 0.0, 1.0), (0.125, 0.0, 0.1), (0.30313, 0.92745, 0.42632, 0.26557)),
    ((1.0, -2.0, 0.4), (1.0, 2.0, 0.4), (0.00189, 0.0, 0.02185, 0.02185)),
    ((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01), (460.894, 19.5975, 0.57506, 5.99924)),
    ((1.0, 0.0, 0.01), (1.0, 0.0, 100.0), (46.0950, -6.19633, 5.99242, 0.57511)),
    (
        (5.99924, 19.5975, 460.894),
        (5.99242, -6.19633, 46.0950),
        (1691.64, 8.68975, 14.2823, 31.0426),
    ),
]


@pytest.mark.parametrize(("left", "right", "expected"), PUBLISHED)
def test_middle_states_of_an_ideal_gas_are_the_published_ones(left, right, expected):
    star = gas_star(left, right, 1.4)
    found = (star.pressure, star.velocity, star.left, star.right)
    np.testing.assert_allclose(found, expected, rtol=3e-5, atol=5e-6)


def balance(problem, flux, times):
    """`d/dt int u dx` against the fluxes at the ends, by a fine midpoint rule."""
    (low, high), n = problem.domain["x"], 200_000
    x = low + (np.arange(n) + 0.5) * (high - low) / n
    whole = [problem.reference.values(t, x).mean(axis=1) * (high - low) for t in times]
    ends = [flux(problem.reference.values(0.0, np.array([end])))[:, 0] for end in (low, high)]
    return (whole[1] - whole[0]) / (times[1] - times[0]), ends[0] - ends[1]


def gas_flux(u):
    p = 0.4 * (u[2] - u[1] ** 2 / (2 * u[0]))
    return np.stack([u[1], u[1] ** 2 / u[0] + p, (u[2] + p) * u[1] / u[0]])


def water_flux(u):
    return np.stack([u[1], u[1] ** 2 / u[0] + 9.81 / 2 * u[0] ** 2])


@pytest.mark.parametrize(
    ("problem", "flux", "times"),
    [
        (sod(), gas_flux, (0.05, 0.2)),
        (shock_tube(*PUBLISHED[2][:2], end=0.012), gas_flux, (0.004, 0.012)),
        (shock_tube(*PUBLISHED[4][:2], end=0.035), gas_flux, (0.01, 0.035)),
        (dam_break(), water_flux, (0.2, 0.8)),
        (dam_break(upstream=1.0, downstream=4.0), water_flux, (0.1, 0.4)),
    ],
)
def test_solutions_in_closed_form_conserve(problem, flux, times):
    change, through = balance(problem, flux, times)
    # The midpoint rule misses a jump by up to half of it times a cell.
    low, high = problem.domain["x"]
    jump = np.ptp(problem.reference.values(times[1], np.linspace(low, high, 999)))
    atol = 1e-5 * (high - low) * jump / (times[1] - times[0])
    np.testing.assert_allclose(change, through, atol=atol)


def test_a_bore_obeys_the_jump_conditions_of_shallow_water():
    depth, speed = water_star((2.0, 0.0), (1.0, 0.0), 9.81)
    bore = np.sqrt(9.81 * depth * (depth + 1) / 2)
    np.testing.assert_allclose(depth * speed, bore * (depth - 1), rtol=1e-13)
    np.testing.assert_allclose(speed, 2 * np.sqrt(9.81) * (np.sqrt(2) - np.sqrt(depth)), rtol=1e-13)
    problem = dam_break()
    assert problem.reference.values(0.5, np.array([5.0]))[0, 0] == pytest.approx(depth)
    (x,) = np.nonzero(problem.reference.values(0.5, np.linspace(0, 10, 100_001))[0] > 1 + 1e-9)
    assert x[-1] * 1e-4 == pytest.approx(5 + bore * 0.5, abs=2e-4)


def test_the_triangle_is_the_entropy_solution_of_hopf_and_lax():
    y = np.linspace(-2, 2, 40_001)
    potential = np.where(y < 0, (y + 1) ** 2 / 2, 1 - (1 - y) ** 2 / 2)
    potential = np.where(y < -1, 0.0, np.where(y > 1, 1.0, potential))
    rng = np.random.default_rng(0)
    t, x = rng.uniform(0.05, 2, 300), rng.uniform(-1.9, 1.9, 300)
    best = y[np.argmin(potential + (x[:, None] - y) ** 2 / (2 * t[:, None]), axis=1)]
    exact = inviscid_burgers().reference
    np.testing.assert_allclose(exact(t, x), (x - best) / t, atol=2e-3)
    front = np.sqrt(2 * 2.5) - 1
    assert exact(1.5, front - 1e-9) == pytest.approx((front + 1) / 2.5)
    assert exact(1.5, front + 1e-9) == 0


def test_sound_travels_both_ways():
    problem = acoustics(bulk=2.0, rho=0.5)
    x, c, impedance = np.linspace(0, 1, 9), 2.0, 1.0
    p, u = problem.reference.values(0.1, x)

    def pulse(z):
        return np.exp(5 * np.cos(2 * np.pi * z) - 5)

    np.testing.assert_allclose(p + impedance * u, pulse(x - c * 0.1), atol=1e-14)
    np.testing.assert_allclose(p - impedance * u, pulse(x + c * 0.1), atol=1e-14)


def test_states_that_have_no_such_solution_are_refused():
    with pytest.raises(InputError, match="vacuum"):
        shock_tube((1.0, -9.0, 0.4), (1.0, 9.0, 0.4))
    with pytest.raises(InputError, match="not positive"):
        shock_tube((1.0, 0.0, -1.0), (1.0, 0.0, 1.0))
    with pytest.raises(InputError, match="depth is not positive"):
        dam_break(downstream=0.0)
    with pytest.raises(InputError, match="dry"):
        water_star((1.0, -9.0), (1.0, 9.0), 9.81)
