"""Implicit methods on the stiff problems of the field, against scipy's Radau.

The reference states are those of `solve_ivp(f, (0, times[-1]), y0, "Radau", times, jac=jac,
rtol=2e-13, atol=2e-17 * floor)` with the exact Jacobian; those of the reaction-diffusion
equation are computed here. The problems are described in hairer1996solving.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from scipy.integrate import solve_ivp

from continua.integrate import solve
from continua.integrate.implicit import Banded, Kvaerno5, Rodas3, Rodas5P


def robertson(t, y, args):
    a, b, c = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return jnp.stack([b - a, a - b - c, c])


def van_der_pol(t, y, args):
    return jnp.stack([y[1], 1e3 * (1 - y[0] ** 2) * y[1] - y[0]])


def hires(t, y, args):
    a, b, c, d, e, f, g, h = y
    r = 280 * f * h
    return jnp.stack(
        [
            -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * f + 0.43 * g,
            -r + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
            r - 1.81 * g,
            -r + 1.81 * g,
        ]
    )


def oregonator(t, y, args):
    a, b, c = y
    return jnp.stack(
        [77.27 * (b + a * (1 - 8.375e-6 * a - b)), (c - (1 + a) * b) / 77.27, 0.161 * (a - c)]
    )


# Reactions of the pollution problem: rate constant, what reacts, what goes and what comes.
REACTIONS = (
    (0.35, (1,), (1,), (2, 3)), (26.6, (2, 4), (2, 4), (1,)), (1.23e4, (5, 2), (5, 2), (6, 1)),
    (8.6e-4, (7,), (7,), (5, 5, 8)), (8.2e-4, (7,), (7,), (8,)), (1.5e4, (7, 6), (7, 6), (5, 8)),
    (1.3e-4, (9,), (9,), (5, 8, 10)), (2.4e4, (9, 6), (9, 6), (11,)),
    (1.65e4, (11, 2), (11, 2), (1, 10, 12)), (9e3, (11, 1), (11, 1), (13,)),
    (0.022, (13,), (13,), (11, 1)), (1.2e4, (10, 2), (10, 2), (1, 14)),
    (1.88, (14,), (14,), (7, 5)), (1.63e4, (1, 6), (1, 6), (15,)), (4.8e6, (3,), (3,), (4,)),
    (3.5e-4, (4,), (4,), (16,)), (0.0175, (4,), (4,), (3,)), (1e8, (16,), (16,), (6, 6)),
    (4.44e11, (16,), (16,), (3,)), (1240.0, (17, 6), (17, 6), (18, 5)), (2.1, (19,), (19,), (2,)),
    (5.78, (19,), (19,), (1, 3)), (0.0474, (1, 4), (1, 4), (19,)),
    (1780.0, (19, 1), (19, 1), (20,)), (3.12, (20,), (20,), (19, 1)),
)  # fmt: skip


def pollution(t, y, args):
    slopes = [jnp.zeros(())] * 20
    for rate, reactants, gone, made in REACTIONS:
        speed = rate * jnp.prod(jnp.stack([y[i - 1] for i in reactants]))
        for i in gone:
            slopes[i - 1] = slopes[i - 1] - speed
        for i in made:
            slopes[i - 1] = slopes[i - 1] + speed
    return jnp.stack(slopes)


def brusselator(t, y, args):
    """Two substances on 250 cells of a line, one after the other in each; ends are held."""
    u, v = y.reshape(-1, 2).T
    k = (u.shape[0] + 1) ** 2 / 50

    def spread(x, end):
        wide = jnp.pad(x, 1, constant_values=end)
        return k * (wide[2:] - 2 * x + wide[:-2])

    r = u**2 * v
    slopes = 1 + r - 4 * u + spread(u, 1.0), 3 * u - r + spread(v, 3.0)
    return jnp.stack(slopes, axis=-1).reshape(-1)


POLLUTED = np.zeros(20)
POLLUTED[[1, 3, 6, 7, 8, 16]] = 0.2, 0.04, 0.1, 0.3, 0.01, 0.007
CELLS = np.arange(1, 251) / 251

# Right-hand side, initial state, times, the absolute tolerance in units of the relative one,
# and the states at these times.
PROBLEMS = {
    "Robertson": (
        robertson,
        [1.0, 0.0, 0.0],
        [4e1, 1e11],
        1e-6,
        [
            [7.158270687194e-01, 9.185534764558e-06, 2.841637457458e-01],
            [2.083340149699e-08, 8.333360770325e-14, 9.999999791665e-01],
        ],
    ),
    "Van der Pol": (
        van_der_pol,
        [2.0, 0.0],
        [1e3, 2e3],
        1e-2,
        [[-1.863646254808e00, 7.535430865435e-04], [1.706167732170e00, -8.928097010248e-04]],
    ),
    "HIRES": (
        hires,
        [1.0, 0, 0, 0, 0, 0, 0, 0.0057],
        [10.0, 321.8122],
        1e-4,
        [
            [
                8.324735469236e-03,
                1.652672508001e-03,
                1.410342659308e-03,
                1.743322429745e-02,
                1.857204640652e-01,
                7.494166221554e-01,
                5.651253341825e-03,
                4.874665817489e-05,
            ],
            [
                7.371312573326e-04,
                1.442485726316e-04,
                5.888729740968e-05,
                1.175651343283e-03,
                2.386356198831e-03,
                6.238968252742e-03,
                2.849998395186e-03,
                2.850001604814e-03,
            ],
        ],
    ),
    "OREGO": (
        oregonator,
        [1.0, 2.0, 3.0],
        [100.0, 360.0],
        1e-3,
        [
            [1.002449966170e00, 4.091651304367e02, 1.134166119164e00],
            [1.000814870319e00, 1.228178521550e03, 1.320554942847e02],
        ],
    ),
    "pollution": (
        pollution,
        POLLUTED,
        [1.0, 60.0],
        1e-5,
        [
            [
                3.732630429886e-02,
                1.625132541268e-01,
                2.734438930611e-09,
                3.299406575691e-03,
                3.115161938725e-07,
                2.653491850166e-07,
                9.942310366621e-02,
                3.006173127757e-01,
                9.926994938315e-03,
                2.952960182660e-08,
                2.099490115465e-08,
                6.571492956827e-05,
                5.974296465387e-06,
                2.785863950612e-05,
                1.395946403207e-04,
                2.600297909238e-18,
                6.997397465744e-03,
                2.602534256434e-06,
                3.817195450774e-07,
                7.245459009255e-06,
            ],
            [
                5.646255480023e-02,
                1.342484130422e-01,
                4.139734331099e-09,
                5.523140207484e-03,
                2.018977262302e-07,
                1.464541863494e-07,
                7.784249118998e-02,
                3.245075353396e-01,
                7.494013383881e-03,
                1.622293157302e-08,
                1.135863833257e-08,
                2.230505975721e-03,
                2.087162882799e-04,
                1.396921016840e-05,
                8.964884856898e-03,
                4.352846369330e-18,
                6.899219696263e-03,
                1.007803037366e-04,
                1.772146513970e-06,
                5.682943292316e-05,
            ],
        ],
    ),
}


def errors(field, method, y0, times, floor, exact):
    """The worst weighted norm of the error in units of the tolerance, for three tolerances."""

    @jax.jit
    def run(tol):
        return solve(
            field, method, t0=0.0, t1=times[-1], y0=jnp.asarray(y0, float),
            saveat=jnp.asarray(times), rtol=tol, atol=floor * tol,
        )  # fmt: skip

    found = []
    for tol in (1e-4, 1e-6, 1e-8):
        result = run(tol)
        assert int(result.code) == 0
        scaled = np.abs(np.asarray(result.ys) - exact) / (tol * (floor + np.abs(exact)))
        found.append(np.sqrt((scaled**2).mean(axis=1)).max())
    return found


@pytest.mark.parametrize("method", [Rodas5P(), Kvaerno5()], ids=lambda m: m.name)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_errors_are_near_the_tolerance(problem, method):
    field, y0, times, floor, exact = PROBLEMS[problem]
    assert max(errors(field, method, y0, times, floor, np.array(exact))) < 10


@pytest.mark.parametrize("problem", ["Robertson", "HIRES"])
def test_errors_of_low_order_are_near_the_tolerance(problem):
    field, y0, times, floor, exact = PROBLEMS[problem]
    assert max(errors(field, Rodas3(), y0, times, floor, np.array(exact))) < 10


def test_reaction_and_diffusion():
    y0 = np.stack([1 + np.sin(2 * np.pi * CELLS), np.full(250, 3.0)], axis=-1).reshape(-1)
    slope = jax.jit(lambda t, y: brusselator(t, y, None))
    jacobian = jax.jit(jax.jacfwd(slope, 1))
    times = [1.0, 10.0]
    exact = solve_ivp(
        lambda t, y: np.asarray(slope(t, y)), (0.0, 10.0), y0, "Radau", times, rtol=1e-10,
        atol=1e-12, jac=lambda t, y: scipy.sparse.csc_matrix(np.asarray(jacobian(t, y))),
    ).y.T  # fmt: skip
    assert max(errors(brusselator, Rodas5P(Banded(2, 2)), y0, times, 1e-2, exact)) < 10
