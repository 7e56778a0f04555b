r"""Exact solutions of mechanics: pendulum, Kepler's ellipse, a ball that bounces."""

import math

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


def delayed_feedback(t: np.ndarray, *, tau: float) -> np.ndarray:
    """`x' = -x(t - tau)` from `x = 1`: `sum_k (-1)^k (t - (k - 1) tau)^k / k!` over all `k`
    with `(k - 1) tau <= t`.

    **Arguments:**

    - `t`: times from 0 on.
    - `tau`: the delay.

    **Returns:** `(1, *shape)`.

    **Reference:** bellen2003numerical
    """
    t = np.asarray(t, float)
    total, k = np.ones(t.shape), 1
    while (k - 1) * tau <= np.max(t, initial=0.0):
        total += np.maximum(t - (k - 1) * tau, 0.0) ** k * (-1.0) ** k / math.factorial(k)
        k += 1
    return total[None]


def bouncing_ball(t: np.ndarray, *, g: float, height: float, r: float) -> np.ndarray:
    r"""A ball that is let go and keeps a part `r` of its speed at every bounce.

        y = v_k (t - t_k) - g (t - t_k)^2 / 2,   v_k = r^k sqrt(2 g height),
        t_1 = sqrt(2 height / g),   t_{k+1} = t_k + 2 v_k / g,

    and 0 once all bounces are over, at `t_1 (1 + r) / (1 - r)`.

    **Arguments:**

    - `t`: times from 0 on.
    - `g`: gravity; `height`: at the start; `r`: restitution, from 0 to 1.

    **Returns:** `(1, *shape)`.
    """
    t = np.asarray(t, float)
    fall, speed = math.sqrt(2 * height / g), math.sqrt(2 * g * height)
    found, begin = height - g * t**2 / 2, fall
    latest = float(np.max(t, initial=0.0))
    while begin <= latest and speed > 1e-16 * g * fall:
        speed *= r
        since = t - begin
        found = np.where(since >= 0, since * (speed - g * since / 2), found)
        begin += 2 * speed / g
    return np.where(t > begin, 0.0, found)[None]
