"""The equations in `examples/`, solved once more with numpy and scipy alone.

Nothing here comes from the library: other discretisations, other time steppers and
other code, so that an error in the library cannot hide in its own reference. Each
function returns the unknowns at given times and places, `(c, T, *X)`.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy.fft import dct, idct
from scipy.integrate import solve_ivp
from scipy.interpolate import BarycentricInterpolator
from scipy.optimize import least_squares

_TIGHT = {"rtol": 1e-10, "atol": 1e-12}


@dataclasses.dataclass(frozen=True)
class ScipySolution:
    """Values on the evaluation grid of a problem.

    **Arguments:**

    - `stored`: `(c, T, *X)`.
    - `error`: relative L2 difference to three quarters of the resolution.
    - `evidence`: how they were found.
    """

    stored: np.ndarray
    error: float
    evidence: str

    def values(self, *coordinates) -> np.ndarray:
        """The values; the coordinates must be those of the evaluation grid."""
        assert np.broadcast_shapes(*(np.shape(c) for c in coordinates)) == self.stored.shape[1:]
        return self.stored


def sine_gordon(t, x, n: int = 256):
    """`u_tt + u_t/10 = u_xx - sin(u)` on [-10, 10): Fourier in space, DOP853 in time."""
    nodes = -10 + 20 * np.arange(n) / n
    k = 2 * np.pi / 20 * np.arange(n // 2 + 1)

    def slope(_, y):
        u, v = y[:n], y[n:]
        return np.concatenate([v, np.fft.irfft(-(k**2) * np.fft.rfft(u)) - np.sin(u) - 0.1 * v])

    start = np.concatenate([2 * np.exp(-(nodes**2)), np.zeros(n)])
    y = solve_ivp(slope, (t[0], t[-1]), start, "DOP853", t, **_TIGHT).y
    return _series(y[:n].T, (x + 10) / 20)[None]


def kdv_burgers(t, x, n: int = 256):
    """`u_t + (u^2/2)_x + 5e-4 u_xxx = 2e-3 u_xx` on [0, 2): Fourier in space, DOP853."""
    nodes = 2 * np.arange(n) / n
    k = np.pi * np.arange(n // 2 + 1)
    linear = -2e-3 * k**2 + 5e-4j * k**3

    def slope(_, u):
        return np.fft.irfft(linear * np.fft.rfft(u) - 0.5j * k * np.fft.rfft(u**2), n)

    y = solve_ivp(slope, (t[0], t[-1]), 1 + np.cos(np.pi * nodes) / 2, "DOP853", t, **_TIGHT).y
    return _series(y.T, x / 2)[None]


def two_species(t, x, n: int = 64):
    """Activator and inhibitor with zero slopes at 0 and 1: cosines in space, Radau in time."""
    nodes = (np.arange(n) + 0.5) / n
    k2 = (np.pi * np.arange(n)) ** 2

    def bend(u):
        return idct(-k2 * dct(u))

    def slope(_, y):
        u, v = y[:n], y[n:]
        return np.concatenate([0.005 * bend(u) + u - u**3 - v + 0.05, 0.1 * bend(v) + (u - v) / 2])

    start = np.concatenate([np.cos(np.pi * nodes) / 2, np.cos(2 * np.pi * nodes) / 4])
    y = solve_ivp(slope, (t[0], t[-1]), start, "Radau", t, **_TIGHT).y.reshape(2, n, -1)
    coefficients = dct(y, axis=1) / n
    coefficients[:, 0] /= 2
    return np.einsum("cnt,nx->ctx", coefficients, np.cos(np.pi * np.outer(np.arange(n), x)))


def cooling_rod(t, x, n: int = 48):
    """`T_t = 0.05 T_xx + q` with a moving wall value at 0 and `2 T + T_x = 0` at 1:
    Chebyshev collocation, the wall values eliminated, Radau in time."""
    angles = np.pi * np.arange(n + 1) / n
    nodes = (1 - np.cos(angles)) / 2
    c = np.r_[2.0, np.ones(n - 1), 2.0] * (-1.0) ** np.arange(n + 1)
    gaps = nodes[:, None] - nodes[None, :] + np.eye(n + 1)
    first = np.outer(c, 1 / c) / gaps
    first -= np.diag(first.sum(axis=1))
    second = first @ first

    def whole(time, inner):
        left = 1 - np.exp(-5 * time)
        right = -(first[-1, 0] * left + first[-1, 1:-1] @ inner) / (2 + first[-1, -1])
        return np.r_[left, inner, right]

    def slope(time, inner):
        source = np.exp(-50 * (nodes[1:-1] - 0.3) ** 2) * np.sin(time)
        return 0.05 * (second @ whole(time, inner))[1:-1] + source

    y = solve_ivp(slope, (t[0], t[-1]), np.zeros(n - 1), "Radau", t, **_TIGHT).y
    rows = [BarycentricInterpolator(nodes, whole(a, b))(x) for a, b in zip(t, y.T, strict=True)]
    return np.array(rows)[None]


def robertson(t, k: float, rtol: float = 1e-10):
    """Robertson's reactions with the slow rate `k`: BDF."""

    def slope(_, y):
        a, b, c = y
        slow, back, fast = k * a, 1e4 * b * c, 3e7 * b**2
        return [back - slow, slow - back - fast, fast]

    return solve_ivp(slope, (0, t[-1]), [1.0, 0, 0], "BDF", t, rtol=rtol, atol=1e-14).y


def fitted_rate(points: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """The slow rate that fits measurements best in least squares, and its deviation.

    **Arguments:**

    - `points`: times, increasing, `(n,)`.
    - `values`: of `a`, `b`, `c`, NaN where not measured, `(n, 3)`.
    """
    there = np.isfinite(values)
    spread = np.array(
        [np.std(v[m]) if m.any() else 1.0 for v, m in zip(values.T, there.T, strict=True)]
    )

    def gap(log_rate):
        return ((robertson(points, np.exp(log_rate[0])).T - values) / spread)[there]

    found = least_squares(gap, [np.log(0.1)], x_scale=0.1, diff_step=1e-4, xtol=1e-12)
    rate = float(np.exp(found.x[0]))
    variance = 2 * found.cost / (there.sum() - 1) / (found.jac**2).sum()
    return rate, rate * float(np.sqrt(variance))


def _series(values: np.ndarray, share: np.ndarray) -> np.ndarray:
    """A Fourier series `(T, n)` at shares of its period `(X,)`."""
    n = values.shape[1]
    c = np.fft.rfft(values) / n
    c[:, 1:] *= 2
    c[:, -1] /= 2
    return (c @ np.exp(2j * np.pi * np.outer(np.arange(n // 2 + 1), share))).real


_FIELDS: dict[str, tuple[Callable, int]] = {
    "sine_gordon": (sine_gordon, 256),
    "kdv_burgers": (kdv_burgers, 256),
    "two_species": (two_species, 64),
    "cooling_rod": (cooling_rod, 48),
}


def scipy_solution(name: str, problem) -> ScipySolution:
    """The solution of an example on its evaluation grid, with an estimate of its error.

    **Arguments:**

    - `name`: of the file in `examples/`.
    - `problem`: as loaded; gives the grid, and the measurements of `stiff_rate`.
    """
    grid = problem.evaluation_grid()
    if name == "stiff_rate":
        rate, deviation = fitted_rate(problem.data.points[:, 0], np.asarray(problem.data.values))
        fine, coarse = (robertson(grid["t"], rate, rtol) for rtol in (1e-10, 1e-8))
        evidence = f"BDF with the fitted rate {rate:.5f} +- {deviation:.5f}"
    else:
        function, n = _FIELDS[name]
        fine, coarse = (function(*grid.values(), m) for m in (n, 3 * n // 4))
        evidence = " ".join((function.__doc__ or "").split())
    error = np.linalg.norm(fine - coarse) / np.linalg.norm(fine)
    return ScipySolution(fine, float(error), evidence)
