"""Fractional Brownian motion by memories: weights, errors, variances, stationary starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import gamma

from continua.core.errors import InputError
from continua.integrate.stochastic.fractional import KINDS, MarkovFBM, normal_equations

TABLE = {
    "II": (0.168, 0.0251, 0.00298, 1.97e-4, 1.0e-5, 3.85e-5, 5.78e-5, 7.95e-5, 1.18e-4),
    "I": (0.216, 0.043, 0.0177, 0.0324, 0.0727, 0.148, 0.273, 0.462, 0.713),
}


def with_memory(kind, hurst, rate, horizon):
    """`int_0^T E B (Y - Y(0)) dt` by quadrature."""
    a = hurst + 0.5

    def inside(s):
        return (horizon - s) * np.exp(-rate * s)

    options = {"epsabs": 1e-12, "epsrel": 1e-12, "limit": 400}
    since = quad(inside, 0, horizon, weight="alg", wvar=(a - 1, 0), **options)[0]
    if kind == "II":
        return since / gamma(a)

    def before(t):
        # What came before time 0: of both, what is left less what was there.
        tail = quad(lambda v: (t + v) ** (a - 1) * np.exp(-rate * v), 0, np.inf, **options)[0]
        return np.expm1(-rate * t) * (tail - gamma(a) * rate**-a)

    return (since + quad(before, 0, horizon, **options)[0]) / gamma(a)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hurst", [0.3, 0.7])
def test_what_the_weights_solve_is_that_of_quadrature(kind, hurst):
    rates = np.array([0.2, 1.0, 5.0])
    _, c = normal_equations(hurst, jnp.asarray(rates), 2.0, kind)
    exact = [with_memory(kind, hurst, rate, 2.0) for rate in rates]
    np.testing.assert_allclose(c, exact, atol=1e-9)


def test_the_scaled_gamma_function_joins_its_two_forms():
    """On both sides of the argument where one takes over, and where `exp` overflows."""
    rates = jnp.array([9.999999, 10.000001]) / 2
    _, c = normal_equations(0.3, rates, 2.0, "I")
    assert abs(float(c[1] - c[0])) < 1e-6
    assert np.isfinite(normal_equations(0.3, jnp.array([900.0]), 2.0, "I")[1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_those_published(kind):
    noise = MarkovFBM(kind=kind)
    found = [float(noise.relative_error(h)) for h in np.arange(1, 10) / 10]
    np.testing.assert_allclose(found, TABLE[kind], rtol=0.01)


def test_more_memories_err_less():
    errors = [float(MarkovFBM(k, g).relative_error(0.3)) for k, g in ((10, 100.0), (20, 1000.0))]
    np.testing.assert_allclose(errors, [1.07e-3, 2.4e-4], rtol=0.01)


def test_variances_are_near_those_of_the_motion():
    noise, t = MarkovFBM(), np.linspace(0.5, 6, 23)
    for hurst in (0.3, 0.5, 0.7, 0.9):
        ratio = noise.variance(hurst, t) / noise.exact_variance(hurst, t)
        np.testing.assert_allclose(ratio, 1, atol=0.025)
    t = np.array([0.5, 1.0, 2.0, 4.0, 6.0])
    ratio = noise.variance(0.3, t) / noise.exact_variance(0.3, t) - 1
    np.testing.assert_allclose(ratio, [-0.016, -0.004, -0.002, -0.004, 0.0], atol=6e-4)
    assert float(MarkovFBM(kind="I").exact_variance(0.5, 1.0)) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_variances_add_up_to_what_the_weights_solve(kind):
    noise = MarkovFBM(kind=kind)
    a, _ = normal_equations(0.3, noise.rates, noise.horizon, kind)
    w = noise.weights(0.3)
    nodes, shares = np.polynomial.legendre.leggauss(400)
    whole = np.sum(3 * shares * np.asarray(noise.variance(0.3, 3 * (nodes + 1))))
    assert whole == pytest.approx(float(w @ a @ w), rel=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_have_gradients(kind):
    noise, step = MarkovFBM(kind=kind), 1e-5
    for hurst in (0.2, 0.5, 0.8):
        slope = jax.jacfwd(noise.weights)(hurst)
        about = (noise.weights(hurst + step) - noise.weights(hurst - step)) / (2 * step)
        np.testing.assert_allclose(slope, about, rtol=1e-5, atol=1e-6)


def test_memories_begin_in_their_stationary_law():
    noise = MarkovFBM(kind="I")
    draws = np.asarray(noise.initial((40_000,), key=jax.random.key(0)))
    rates = np.asarray(noise.rates)
    exact = 1 / (rates[:, None] + rates[None])
    sizes = np.sqrt(np.diag(exact))
    scaled = np.cov(draws.T) / np.outer(sizes, sizes)
    np.testing.assert_allclose(scaled, exact / np.outer(sizes, sizes), atol=0.03)
    assert not MarkovFBM().initial((3, 2), key=jax.random.key(0)).any()


def test_mistakes_are_told():
    with pytest.raises(InputError, match=r"MarkovFBM.kind: got 'III'; did you mean 'II'"):
        MarkovFBM(kind="III")
    with pytest.raises(InputError, match="terms: got 1; give 2 or more"):
        MarkovFBM(1)
    with pytest.raises(InputError, match="rates from 30 to 20 and a horizon of 6"):
        MarkovFBM(slowest=30.0)
