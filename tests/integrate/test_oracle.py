"""Adaptive explicit methods on well-known problems, against scipy at 1e-12 and diffrax."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from continua.integrate import (
    SSPRK3,
    Bosh3,
    Direct,
    Dopri5,
    Dopri8,
    Tsit5,
    Vern7,
    Vern9,
    solve,
)


def lotka_volterra(t, y, a):
    return jnp.stack([1.1 * y[0] - 0.4 * y[0] * y[1], 0.1 * y[0] * y[1] - 0.4 * y[1]])


def kepler(t, y, a):
    cube = (y[0] ** 2 + y[1] ** 2) ** 1.5
    return jnp.stack([y[2], y[3], -y[0] / cube, -y[1] / cube])


def van_der_pol(t, y, a):
    return jnp.stack([y[1], 2.0 * (1 - y[0] ** 2) * y[1] - y[0]])


def fitzhugh_nagumo(t, y, a):
    return jnp.stack([y[0] - y[0] ** 3 / 3 - y[1] + 0.5, 0.08 * (y[0] + 0.7 - 0.8 * y[1])])


def henon_heiles(t, y, a):
    x, z, u, v = y
    return jnp.stack([u, v, -x - 2 * x * z, -z - x**2 + z**2])


def forced_duffing(t, y, a):
    return jnp.stack([y[1], y[0] - y[0] ** 3 - 0.2 * y[1] + 0.3 * jnp.cos(t)])


def lorenz96(t, y, a):
    return (jnp.roll(y, -1) - jnp.roll(y, 2)) * jnp.roll(y, 1) - y + 8.0


PROBLEMS = {
    "Lotka-Volterra": (lotka_volterra, [10.0, 5.0], 10.0),
    "Kepler, eccentricity 0.5": (kepler, [0.5, 0.0, 0.0, 3.0**0.5], 2 * np.pi),
    "Van der Pol, mu = 2": (van_der_pol, [2.0, 0.0], 8.0),
    "FitzHugh-Nagumo": (fitzhugh_nagumo, [-1.0, 1.0], 40.0),
    "Henon-Heiles": (henon_heiles, [0.1, 0.0, 0.3, 0.2], 10.0),
    "Duffing, forced": (forced_duffing, [1.0, 0.0], 10.0),
    "Lorenz 96": (lorenz96, [8.01, *[8.0] * 9], 1.0),
}
# Those of low order would take ten thousands of steps.
METHODS = {
    SSPRK3(): (1e-4, 1e-6),
    Bosh3(): (1e-4, 1e-6),
    Dopri5(): (1e-4, 1e-6, 1e-8),
    Tsit5(): (1e-4, 1e-6, 1e-8),
    Vern7(): (1e-4, 1e-6, 1e-8, 1e-10),
    Dopri8(): (1e-4, 1e-6, 1e-8, 1e-10),
    Vern9(): (1e-6, 1e-8, 1e-10),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_errors_are_those_that_were_asked_for(name):
    field, y0, t1 = PROBLEMS[name]
    compiled = jax.jit(lambda t, y: field(t, y, None))
    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-13}
    found = solve_ivp(lambda t, y: np.asarray(compiled(t, y)), (0, t1), y0, **options)
    exact, y0 = found.y[:, -1], jnp.asarray(y0)
    # What a change at the start becomes, of which errors on the way are the like.
    start = np.abs(np.asarray(jax.jacfwd(lambda y: end(field, Tsit5(), y, t1, 1e-8)[0])(y0)))
    growth = max(1.0, start.sum(axis=1).max())
    scale = 1.0 + np.abs(exact)
    for method, tolerances in METHODS.items():
        run = jax.jit(lambda y, tol, m=method: end(field, m, y, t1, tol))
        for tol in tolerances:
            y, code = run(y0, tol)
            assert int(code) == 0
            size = np.abs((np.asarray(y) - exact) / scale).max() / tol
            assert size < 10 * growth, (method.name, tol, size, growth)


def end(field, method, y0, t1, tol):
    found = solve(
        field, method, t0=0.0, t1=t1, y0=y0, rtol=tol, atol=tol, gradient=Direct()
    )  # fmt: skip
    return found.ys[-1], found.code


@pytest.mark.parametrize("name", ["Kepler, eccentricity 0.5", "Duffing, forced"])
def test_no_more_steps_than_diffrax_at_no_larger_an_error(name):
    field, y0, t1 = PROBLEMS[name]
    y0 = jnp.asarray(y0)
    exact = solve(field, Vern9(), t0=0.0, t1=t1, y0=y0, rtol=1e-13, atol=1e-13).ys[-1]
    for ours, theirs in ((Tsit5(), diffrax.Tsit5()), (Dopri5(), diffrax.Dopri5())):
        found = solve(field, ours, t0=0.0, t1=t1, y0=y0, rtol=1e-7, atol=1e-7)
        peer = diffrax.diffeqsolve(
            diffrax.ODETerm(field), theirs, 0.0, t1, None, y0,
            stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-7),
        )  # fmt: skip
        errors = [float(jnp.abs(y - exact).max()) for y in (found.ys[-1], peer.ys[-1])]
        tries = [
            int(found.steps + found.rejected),
            int(peer.stats["num_steps"]),
        ]
        # The error falls with the fifth power of the number of steps.
        work = [n * e**0.2 for n, e in zip(tries, errors, strict=True)]
        assert work[0] < 1.25 * work[1], (errors, tries)
