"""Problems of light, prices, densities, fronts and vortices: exact solutions and methods."""

import dataclasses
import math

import mpmath
import numpy as np
import pytest

from continua import problems
from continua.core.errors import InputError
from continua.methods import FiniteDifferences, FiniteVolumes
from continua.problems import get
from continua.problems.exact import burgers, hamilton_jacobi
from continua.problems.library.electromagnetic import dielectric, maxwell
from continua.problems.library.finance import black_scholes
from continua.problems.library.fronts import hamilton_jacobi as front
from continua.problems.library.kinetic import fokker_planck
from continua.problems.library.memory import fractional_ou
from continua.problems.library.vortices import isentropic_vortex, shallow_water_2d
from continua.solve import solve

_STEP = 1e-3  # of central differences
_WEIGHTS = {1: np.array([1, -8, 0, 8, -1]) / 12, 2: np.array([-1, 16, -30, 16, -1]) / 12}


def derivative(function, point, axis, order=1, h=_STEP):
    """Central differences of order 4 of all unknowns at points `(d, n)`."""
    total = np.zeros(())
    for k, weight in zip(range(-2, 3), _WEIGHTS[order], strict=True):
        moved = [p + k * h * (a == axis) for a, p in enumerate(point)]
        total = total + weight * function(*moved)
    return total / h**order


def points(problem, seed=0, count=200):
    """Points of the inside, away from the first times."""
    rng = np.random.default_rng(seed)
    ends = [problem.domain[c] for c in problem.equation.coordinates]
    return [low + (high - low) * rng.uniform(0.05, 0.95, count) for low, high in ends]


@pytest.mark.parametrize("problem", [maxwell(conductors=True), maxwell(eps=2.0, mu=0.8)])
def test_light_obeys_maxwells_equations(problem):
    exact, at = problem.reference.values, points(problem)
    eps, mu = problem.parameters["eps"], problem.parameters["mu"]
    (e_t, h_t), (e_x, h_x) = (derivative(exact, at, axis) for axis in (0, 1))
    np.testing.assert_allclose(eps * e_t, -h_x, atol=1e-6)
    np.testing.assert_allclose(mu * h_t, -e_x, atol=1e-6)
    times = np.linspace(0, 2, 9)
    for wall in (0.0, 1.0):
        np.testing.assert_allclose(exact(times, wall)[0], 0, atol=1e-15)
    x = (np.arange(400) + 0.5) / 400
    energy = [np.mean(eps * e**2 + mu * h**2) for e, h in (exact(t, x) for t in times)]
    np.testing.assert_allclose(energy, energy[0], rtol=1e-13)
    assert np.ptp(exact(0.3, x)[1]) > 0.1


def test_light_comes_back_after_two_crossings():
    exact, x = get("maxwell").reference.values, np.linspace(0, 1, 33)
    np.testing.assert_allclose(exact(2.0, x), exact(0.0, x), atol=1e-14)
    np.testing.assert_allclose(exact(1.0, x)[0], -exact(0.0, x)[0], atol=1e-14)


@pytest.mark.parametrize("eps", [4.0, 0.5])
def test_light_is_reflected_and_refracted(eps):
    problem = dielectric(eps=eps)
    exact, (t, x) = problem.reference.values, points(problem)
    t, x = (a[np.abs(x) > 3 * _STEP] for a in (t, x))
    (e_t, h_t), (e_x, h_x) = (derivative(exact, (t, x), axis) for axis in (0, 1))
    np.testing.assert_allclose(np.where(x > 0, eps, 1) * e_t, -h_x, atol=2e-5)
    np.testing.assert_allclose(h_t, -e_x, atol=2e-5)
    times = np.linspace(0, 1.5, 31)
    np.testing.assert_allclose(exact(times, -1e-13), exact(times, 1e-13), atol=1e-11)
    left = exact(1.5, np.linspace(-2, -0.01, 500))[0]
    n = math.sqrt(eps)
    assert left[np.argmax(np.abs(left))] == pytest.approx((1 - n) / (1 + n), rel=1e-3)
    with pytest.raises(InputError, match="dielectric.eps: got -1; give a number above 0"):
        dielectric(eps=-1.0)


@pytest.mark.parametrize("kind", ["call", "put"])
def test_prices_obey_black_and_scholes(kind):
    problem = black_scholes(kind=kind, sigma=0.3, rate=0.04)
    t, s = points(problem)
    exact = problem.reference.values
    v, v_t, v_s = exact(t, s), derivative(exact, (t, s), 0), derivative(exact, (t, s), 1)
    v_ss = derivative(exact, (t, s), 1, order=2)
    np.testing.assert_allclose(v_t, 0.045 * s**2 * v_ss + 0.04 * s * v_s - 0.04 * v, atol=1e-5)


def test_calls_and_puts_differ_by_a_forward():
    call, put = (black_scholes(kind=k).reference for k in ("call", "put"))
    t, s = np.meshgrid(np.linspace(0, 1, 5), np.linspace(0, 4, 9))
    np.testing.assert_allclose(call(t, s) - put(t, s), s - np.exp(-0.05 * t), atol=2e-15)
    # Known value: sigma 0.2, r 0.05, one year, at the money.
    assert call(1.0, 1.0) == pytest.approx(0.10450583572185565, rel=1e-13)
    with pytest.raises(InputError, match="black_scholes.kind: got 'cal'.*'call'"):
        black_scholes(kind="cal")


def test_a_density_keeps_its_mass_and_comes_to_rest():
    exact, x = get("fokker_planck").reference, np.linspace(-5, 5, 2001)
    for t in (0.0, 0.4, 3.0):
        p = exact(t, x)
        assert np.sum(p) * 0.005 == pytest.approx(1, abs=1e-14)
        assert np.sum(p * x) * 0.005 == pytest.approx(1.5 * np.exp(-t), abs=1e-13)
    at = points(get("fokker_planck"))
    p, p_t, p_x = exact(*at), derivative(exact, at, 0), derivative(exact, at, 1)
    p_xx = derivative(exact, at, 1, order=2)
    np.testing.assert_allclose(p_t, p + at[1] * p_x + 0.25 * p_xx, atol=1e-6)
    later = fokker_planck().reference(60.0, x)
    np.testing.assert_allclose(later, np.exp(-2 * x**2) * np.sqrt(2 / np.pi), atol=1e-14)


def test_the_slope_of_the_front_is_burgers_solution():
    nu = 0.02
    problem, at = front(nu=nu), points(front())
    slope = derivative(problem.reference.values, at, 1)
    np.testing.assert_allclose(slope, burgers(*at, nu=nu), atol=1e-6)
    phi_t = derivative(problem.reference.values, at, 0)
    phi_xx = derivative(problem.reference.values, at, 1, order=2)
    np.testing.assert_allclose(phi_t + slope**2 / 2, nu * phi_xx, atol=1e-5)


def cole_hopf(t, x, nu):
    """`u` and `phi` by sums of thirty digits."""
    with mpmath.workdps(30):
        nu, width = mpmath.mpf(nu), mpmath.sqrt(4 * mpmath.mpf(nu) * t)
        h, terms = mpmath.mpf(1) / 150, []
        most = int(mpmath.sqrt(1 / (mpmath.pi * nu) + 60) / h)
        for k in range(-most, most + 1):
            y = mpmath.pi * (x - width * k * h)
            terms.append((-((k * h) ** 2) - mpmath.cos(y) / (2 * mpmath.pi * nu), y))
        top = max(e for e, _ in terms)
        near = [(mpmath.exp(e - top), y) for e, y in terms if e > top - 80]
        total = mpmath.fsum(w for w, _ in near)
        u = -mpmath.fsum(w * mpmath.sin(y) for w, y in near) / total
        phi = -2 * nu * (top + mpmath.log(total * h / mpmath.sqrt(mpmath.pi)))
        return float(u), float(phi)


@pytest.mark.parametrize("nu", [1e-3, 0.01 / math.pi, 0.1, 1.0])
def test_sharp_burgers_and_its_front_hold_to_thirteen_digits_and_more(nu):
    gaps, sizes = [], []
    for t, x in ((0.2, 0.4), (0.5, 0.003), (1.0, -0.001), (0.9, 0.7)):
        u, phi = cole_hopf(t, x, nu)
        at = np.array(t), np.array(x)
        assert burgers(*at, nu=nu)[0] == pytest.approx(u, abs=1e-14)
        gaps.append(hamilton_jacobi(*at, nu=nu)[0] - phi)
        sizes.append(phi)
    assert problems.burgers(nu=nu).reference.error <= 1e-13
    assert np.linalg.norm(gaps) <= front(nu=nu).reference.error * np.linalg.norm(sizes)
    assert front(nu=nu).reference.error <= 2e-15


def gas_fluxes(u):
    rho, m, n, e = u
    p = 0.4 * (e - (m**2 + n**2) / (2 * rho))
    along = np.stack([m, m**2 / rho + p, m * n / rho, (e + p) * m / rho])
    return along, np.stack([n, m * n / rho, n**2 / rho + p, (e + p) * n / rho])


def water_fluxes(u):
    h, q, s = u
    return np.stack([q, q**2 / h + h**2 / 2, q * s / h]), np.stack(
        [s, q * s / h, s**2 / h + h**2 / 2]
    )


@pytest.mark.parametrize(
    ("problem", "fluxes"),
    [(isentropic_vortex(end=16.0), gas_fluxes), (shallow_water_2d(end=16.0), water_fluxes)],
    ids=["gas", "water"],
)
def test_vortices_are_carried_unchanged(problem, fluxes):
    exact, at = problem.reference.values, points(problem, count=2000)
    near = np.hypot(*(np.mod(a - at[0] + 8, 16) - 8 for a in at[1:])) < 4
    at = [a[near] for a in at]
    assert len(at[0]) > 200
    u_t = derivative(exact, at, 0)
    f_x = derivative(lambda *p: fluxes(exact(*p))[0], at, 1)
    g_y = derivative(lambda *p: fluxes(exact(*p))[1], at, 2)
    np.testing.assert_allclose(u_t, -f_x - g_y, atol=1e-9)
    assert np.max(np.abs(u_t)) > 0.1
    axis = np.linspace(-8, 8, 33)
    x, y = np.meshgrid(axis, axis)
    np.testing.assert_allclose(exact(16.0, x, y), exact(0.0, x, y), atol=1e-12)
    np.testing.assert_allclose(exact(5.3, -8.0, axis), exact(5.3, 8.0, axis), atol=1e-12)


def test_a_vortex_has_uniform_entropy_and_can_be_made_stronger():
    rho, m, n, e = isentropic_vortex().reference.values(0.7, np.linspace(-3, 3, 41), 0.4)
    p = 0.4 * (e - (m**2 + n**2) / (2 * rho))
    np.testing.assert_allclose(p / rho**1.4, 1, rtol=1e-13)
    h = shallow_water_2d(strength=1.0, gravity=2.0).reference.values(0.0, 0.0, 0.0)[0]
    assert h == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("problem", "method", "bound"),
    [
        (fokker_planck(), FiniteVolumes(num_points=100), 5e-4),
        (black_scholes(), FiniteDifferences(num_points=129), 1e-3),
        (
            dataclasses.replace(shallow_water_2d(end=1.0), num_points={"t": 2, "x": 24, "y": 24}),
            FiniteVolumes(num_points=32),
            5e-3,
        ),
    ],
    ids=["fokker_planck", "black_scholes", "shallow_water_2d"],
)
def test_classical_methods_solve_them(problem, method, bound):
    solution = solve(problem, method)
    assert solution.result.ok
    assert solution.error(problem.reference)["relative_l2"] < bound


def fractional_variance(times, hurst, theta):
    """Of `x = int k(t - s) dW`, `k(r) = c r^a - theta exp(-theta r) int_0^r c u^a exp(theta u) du`
    with `a = H - 1/2`, by Gauss-Jacobi's and Gauss' rules."""
    a, c = hurst - 0.5, 1 / math.gamma(hurst + 0.5)
    z, w = np.polynomial.legendre.leggauss(40)
    z, w = (z + 1) / 2, w / 2
    power = 8  # r = t z^8 smooths the ends

    def kernel(r):
        u, du = r[..., None] * z**power, r[..., None] * power * z ** (power - 1) * w
        inner = np.sum(c * u**a * np.exp(theta * (u - r[..., None])) * du, axis=-1)
        return c * r**a - theta * inner

    r, dr = times[:, None] * z**power, times[:, None] * power * z ** (power - 1) * w
    return np.sum(kernel(r) ** 2 * dr, axis=-1)


@pytest.mark.parametrize(("hurst", "bound"), [(0.3, 0.05), (0.5, 0.01), (0.7, 0.005)])
def test_memories_are_near_fractional_noise(hurst, bound):
    problem = fractional_ou(hurst=hurst, theta=0.8, sigma=1.0)
    times = np.linspace(0.5, 3, 6)
    found = problem.reference.values(times)
    np.testing.assert_allclose(found[0], 1.5 * np.exp(-0.8 * times), rtol=1e-10)
    exact = fractional_variance(times, hurst, 0.8)
    if hurst == 0.5:
        np.testing.assert_allclose(exact, (1 - np.exp(-1.6 * times)) / 1.6, rtol=1e-10)
    assert np.max(np.abs(found[6] / exact - 1)) < bound
    assert problem.reference.error < 1e-11
    assert problem.noise_class() == "additive"


def test_a_hurst_index_lies_between_zero_and_one():
    with pytest.raises(InputError, match="fractional_ou.hurst: got 1; give a number between"):
        fractional_ou(hurst=1.0)
