r"""Exact solutions of mechanics: the pendulum by elliptic functions, Kepler's ellipse."""

import numpy as np

_NEWTON_STEPS = 60  # at most; quadratic once it is close


def pendulum(t: np.ndarray, *, angle: float, omega: float) -> np.ndarray:
    r"""The pendulum `u_tt = -omega^2 sin(u)` that is let go at an angle below pi.

        sin(u / 2) = k cn / dn,   cos(u / 2) = k' / dn,   k = sin(angle / 2), k' = cos(angle / 2),

    with Jacobi's functions `cn`, `dn` of `omega t` and the modulus `k`.

    **Arguments:**

    - `t`: times.
    - `angle`: at the start.
    - `omega`: angular frequency of small swings.

    **Returns:** `(1, *shape)`.

    **Reference:** landau1976mechanics
    """
    from scipy.special import ellipj

    k = np.sin(angle / 2)
    _, cn, _, _ = ellipj(omega * np.asarray(t, float), k**2)
    return 2 * np.arctan2(k * cn, np.cos(angle / 2))[None]


def kepler(t: np.ndarray, *, eccentricity: float) -> np.ndarray:
    r"""A planet that starts next to the sun, on an ellipse of half axis 1.

        E - e sin(E) = t,   x = cos(E) - e,   y = sqrt(1 - e^2) sin(E),

    Kepler's equation by Newton's method from `pi`, from where it converges for all `t`.

    **Arguments:**

    - `t`: times.
    - `eccentricity`: `e`, from 0 to below 1.

    **Returns:** `(2, *shape)`.

    **Reference:** hairer2006geometric
    """
    e, t = eccentricity, np.asarray(t, float)
    turns = np.floor(t / (2 * np.pi))
    mean = t - 2 * np.pi * turns
    anomaly = np.full(t.shape, np.pi)
    for _ in range(_NEWTON_STEPS):
        change = (anomaly - e * np.sin(anomaly) - mean) / (1 - e * np.cos(anomaly))
        anomaly = anomaly - change
        if np.all(np.abs(change) < 1e-15 * np.pi):
            break
    return np.stack([np.cos(anomaly) - e, np.sqrt(1 - e**2) * np.sin(anomaly)])
