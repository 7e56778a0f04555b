r"""How far two sets of random paths are apart in law.

Paths are `(n, T, C)` at common times. Measured are the laws at single times, the dependence
on what was before, and, by signatures, everything at once.
"""

import numpy as np


def marginal_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The mean over times and channels of the Wasserstein distance of the laws there, in
    deviations of `b`.

    `W = int |F_a^-1(p) - F_b^-1(p)| dp`, by the sorted values.

    **Arguments:**

    - `a`, `b`: paths `(n, T, C)` and `(m, T, C)`; `b` sets the scale.
    """
    share = (np.arange(256) + 0.5) / 256
    gap = np.abs(np.quantile(a, share, axis=0) - np.quantile(b, share, axis=0)).mean(axis=0)
    return float(np.mean(gap / _scale(b)))


def autocorrelation_distance(a: np.ndarray, b: np.ndarray, *, lags: int = 10) -> float:
    """The root mean square difference of the autocorrelations of increments.

    **Arguments:**

    - `a`, `b`: paths `(n, T, C)` and `(m, T, C)`.
    - `lags`: the longest, 10 or as many as there are.
    """
    most = min(lags, a.shape[1] - 2)
    gap = [_correlations(a, k) - _correlations(b, k) for k in range(1, most + 1)]
    return float(np.sqrt(np.mean(np.square(gap))))


def _correlations(paths: np.ndarray, lag: int) -> np.ndarray:
    steps = np.diff(paths, axis=1)
    steps = steps - steps.mean(axis=(0, 1))
    both = (steps[:, lag:] * steps[:, :-lag]).mean(axis=(0, 1))
    variance = (steps**2).mean(axis=(0, 1))
    return both / np.where(variance > 0, variance, 1.0)


def signatures(paths: np.ndarray, depth: int) -> np.ndarray:
    r"""Signatures of paths of straight lines, with time and a start at 0 added.

    `S = exp(dx_1) (x) ... (x) exp(dx_T)`, `exp(v) = sum_k v^{(x) k} / k!` (Chen).

    **Arguments:**

    - `paths`: `(n, T, C)`.
    - `depth`: the longest words.

    **Returns:** `(n, sum_k (C + 1)^k)`.

    **Reference:** morrill2021neuralrough
    """
    count, rows, channels = paths.shape
    times = np.broadcast_to(np.linspace(0, 1, rows)[None, :, None], (count, rows, 1))
    whole = np.concatenate([times, paths], axis=2)
    start = np.zeros((count, 1, channels + 1))
    steps = np.diff(np.concatenate([start, whole], axis=1), axis=1)
    size = channels + 1
    levels = [np.ones((count, 1))] + [np.zeros((count, size**k)) for k in range(1, depth + 1)]
    for i in range(rows):
        powers = [np.ones((count, 1))]
        for k in range(1, depth + 1):
            powers.append(_outer(powers[-1], steps[:, i]) / k)
        levels = [
            sum((_outer(levels[j], powers[k - j]) for j in range(k + 1)), np.zeros((count, 1)))
            for k in range(depth + 1)
        ]
    return np.concatenate(levels[1:], axis=1)


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a[:, :, None] * b[:, None, :]).reshape(len(a), -1)


def signature_distance(a: np.ndarray, b: np.ndarray, *, depth: int = 4) -> float:
    """`|mean S(a) - mean S(b)|_2` over words up to a depth, paths in deviations of `b`.

    **Arguments:**

    - `a`, `b`: paths `(n, T, C)` and `(m, T, C)`.
    - `depth`: 4.
    """
    first, second = _signed(a, b, depth)
    return float(np.linalg.norm(first.mean(axis=0) - second.mean(axis=0)))


def two_sample_p_value(
    a: np.ndarray, b: np.ndarray, *, depth: int = 3, permutations: int = 199, seed: int = 0
) -> float:
    """The share of random exchanges of paths between both sets that put them as far apart:
    small where their laws differ.

    The distance is that of the mean signatures, each word in its own deviation, of paths with
    their own past beside them (lead and lag), whose areas are the squares of increments: so
    that noise of the values is told from noise of the dynamics.

    **Arguments:**

    - `a`, `b`: paths `(n, T, C)` and `(m, T, C)`.
    - `depth`: of the signatures, 3.
    - `permutations`: how many exchanges, 199.
    - `seed`: of them.

    **Reference:** chevyrev2022signature, chevyrev2016primer
    """
    first, second = _signed(_lead_lag(a), _lead_lag(b), depth)
    whole = np.concatenate([first, second])
    spread = whole.std(axis=0)
    whole = (whole - whole.mean(axis=0)) / np.where(spread > 0, spread, 1.0)

    def distance(rows: np.ndarray) -> float:
        total, chosen = whole.sum(axis=0), whole[rows].sum(axis=0)
        return float(np.linalg.norm(chosen / len(a) - (total - chosen) / len(b)))

    draw = np.random.default_rng(seed)
    found = distance(np.arange(len(a)))
    others = [distance(draw.permutation(len(whole))[: len(a)]) for _ in range(permutations)]
    return (1 + sum(other >= found for other in others)) / (1 + permutations)


def _lead_lag(paths: np.ndarray) -> np.ndarray:
    """Paths `(n, 2 T - 1, 2 C)` of the values and of those before: first the one moves to the
    next row, then the other follows."""
    twice = np.repeat(paths, 2, axis=1)
    return np.concatenate([twice[:, 1:], twice[:, :-1]], axis=2)


def _signed(a: np.ndarray, b: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    middle, scale = b.mean(axis=(0, 1)), _scale(b).max(axis=0)
    first, second = (signatures((x - middle) / scale, depth) for x in (a, b))
    return first, second


def _scale(paths: np.ndarray) -> np.ndarray:
    """Deviations at each time, where there is any."""
    spread = paths.std(axis=0)
    return np.where(spread > 0, spread, max(float(paths.std()), 1e-300))
