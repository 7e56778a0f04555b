r"""How alike two attractors are, and the numbers that tell an attractor.

Errors of single forecasts say little about a chaotic system: trajectories part whatever
the model. What is compared instead is where orbits go and how often,

    D_stsp = sum_b p_b log(p_b / q_b)    (shares of points in boxes b of state space),

which frequencies they have, `D_H^2 = sum_f (sqrt(p_f) - sqrt(q_f))^2 / 2` (spectra that
sum to 1), how fast neighbours part (Lyapunov exponents), and how many dimensions they
fill (correlation dimension).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from continua.core.errors import InputError

_BOXES_UP_TO = 5  # dimensions; with more, boxes hold no two points
_FLOOR = 1e-5  # what is added to the count of every box
_MARGIN = 0.1  # of a deviation, beyond the extremes of the true data
_CENTRES = 10_000


def state_space_divergence(
    true: Any,
    generated: Any,
    *,
    bins: int = 30,
    variance: float = 1.0,
    draws: int = 1000,
    seed: int = 0,
) -> float:
    """The divergence of where a generated orbit goes from where the true one does.

    Up to five dimensions `KL(p | q)` over boxes, `p = (count + 1e-5) / (total + 1e-5 boxes)`,
    `bins` to an axis between the extremes of the true points; generated points outside are
    in no box. From six dimensions on `p` and `q` are mixtures of a normal density around
    each point, and `KL` is the mean of `log p - log q` over draws of `p`. Two independent
    orbits of one system do not give 0: compare with what these give.

    **Arguments:**

    - `true`, `generated`: `(T, N)` and `(S, N)`, in the same units.
    - `bins`: boxes to an axis, 30.
    - `variance`: of each normal density, 1; scale the data to deviations first.
    - `draws`, `seed`: of the estimate for mixtures, 1000 and 0.

    **Returns:** 0 where both are the same points; infinity where a generated value is not
    finite.

    **Raises:** `InputError` for other shapes, and true values that are not finite.

    **Reference:** hess2023generalized
    """
    true, generated = _pair(true, generated)
    if not np.isfinite(generated).all():
        return float("inf")
    if true.shape[1] > _BOXES_UP_TO:
        return _mixture_divergence(true, generated, variance, draws, seed)
    wide = _MARGIN * true.std(axis=0)
    low, high = true.min(axis=0) - wide, true.max(axis=0) + wide
    width = np.where(high > low, (high - low) / bins, 1.0)
    boxes = bins ** true.shape[1]
    counts = []
    for points in (true, generated):
        cell = np.floor((points - low) / width).astype(np.int64)
        inside = ((points >= low) & (points <= high)).all(axis=1)
        cell = np.minimum(cell[inside], bins - 1)
        counts.append(np.ravel_multi_index(tuple(cell.T), (bins,) * true.shape[1]))
    # Few boxes are ever met: those that are, and the many empty ones as one term.
    met, place = np.unique(np.concatenate(counts), return_inverse=True)
    shares = []
    for points, where in ((true, place[: len(counts[0])]), (generated, place[len(counts[0]) :])):
        count = np.bincount(where, minlength=len(met))
        rest = np.append(count, 0.0) + _FLOOR
        shares.append(rest / (len(points) + _FLOOR * boxes))
    p, q = shares
    times = np.append(np.ones(len(met)), float(boxes - len(met)))
    return float(np.sum(times * p * np.log(p / q)))


def _mixture_divergence(true, generated, variance, draws, seed) -> float:
    rng = np.random.default_rng(seed)
    mixtures = [points[:: -(-len(points) // _CENTRES)] for points in (true, generated)]
    centre = mixtures[0][rng.integers(0, len(mixtures[0]), draws)]
    x = centre + np.sqrt(variance) * rng.standard_normal(centre.shape)
    p, q = (_log_density(x, points, variance) for points in mixtures)
    return float(np.mean(p - q))


def _log_density(x, points, variance: float) -> np.ndarray:
    """Of a mixture of equal normal densities, but for what all mixtures share."""
    from scipy.special import logsumexp

    found = []
    for part in np.array_split(x, max(1, len(x) // 100)):
        squares = (part**2).sum(axis=1)[:, None] + (points**2).sum(axis=1) - 2 * part @ points.T
        found.append(logsumexp(-squares / (2 * variance), axis=1))
    return np.concatenate(found) - np.log(len(points))


def power_spectrum_distance(true: Any, generated: Any, *, smoothing: float = 20.0) -> float:
    """The Hellinger distance of power spectra, the mean over the channels.

    `|rfft|^2` of each channel (scaled to mean 0 and deviation 1 by itself), smoothed by a
    normal density and scaled to sum 1: `sqrt(sum_f (sqrt(p_f) - sqrt(q_f))^2 / 2)`.

    **Arguments:**

    - `true`, `generated`: `(T, N)` and `(S, N)`, the longer one is cut.
    - `smoothing`: deviation of the smoothing in frequencies, 20; 0 for none.

    **Returns:** from 0 to 1; 1 for a channel that stands still where the true one moves, or
    is not finite.

    **Raises:** `InputError` as `state_space_divergence`.

    **Reference:** hess2023generalized
    """
    true, generated = _pair(true, generated)
    length = min(len(true), len(generated))
    distances = []
    for a, b in zip(true[:length].T, generated[:length].T, strict=True):
        p, q = _spectrum(a, smoothing), _spectrum(b, smoothing)
        if p is None or q is None:
            distances.append(0.0 if p is None and q is None and np.isfinite(b).all() else 1.0)
            continue
        distances.append(np.sqrt(0.5 * np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)))
    return float(min(np.mean(distances), 1.0))


def _spectrum(x: np.ndarray, smoothing: float) -> np.ndarray | None:
    """The shares of the frequencies; `None` where nothing moves or numbers ended."""
    from scipy.ndimage import gaussian_filter1d

    deviation = x.std()
    if not np.isfinite(deviation) or deviation <= 1e-12 * np.abs(x).max():
        return None
    power = np.abs(np.fft.rfft((x - x.mean()) / deviation)) ** 2
    if smoothing:
        power = np.asarray(gaussian_filter1d(power, smoothing, mode="reflect"))
    power = np.maximum(power, 0.0)
    return power / power.sum()


def prediction_error(step: Callable, series: Any, *, steps: int = 20) -> float:
    """The mean squared error of forecasts by `n` steps, from every row.

    `mean |F^n(x_t) - x_{t+n}|^2` over times and channels.

    **Arguments:**

    - `step`: `F`, a state `(N,)` to the next, traceable by JAX.
    - `series`: `(T, N)`, one row a step.
    - `steps`: `n`, 20.

    **Raises:** `InputError` for a series that is too short.

    **Reference:** hess2023generalized
    """
    import jax
    import jax.numpy as jnp

    series = np.asarray(series, float)
    if series.ndim != 2 or len(series) <= steps:
        raise InputError(
            f"a series of shape {series.shape} for {steps} steps",
            where="prediction_error",
            fix="give (T, N) with more rows than steps",
        )

    def ahead(x):
        return jax.lax.fori_loop(0, steps, lambda _, x: step(x), x)

    heads = jnp.asarray(series[:-steps], jnp.zeros(()).dtype)
    found = np.asarray(jax.jit(jax.vmap(ahead))(heads), float)
    return float(np.mean((found - series[steps:]) ** 2))


def lyapunov_spectrum(
    step: Callable,
    start: Any,
    *,
    steps: int,
    interval: float = 1.0,
    count: int | None = None,
    discard: int = 1000,
    every: int = 10,
) -> np.ndarray:
    """Lyapunov exponents of a map, or of a flow by its steps.

    Tangent vectors `V` go along with an orbit, `V <- J(x) V`, and are made orthonormal
    again and again, `V = Q R`; exponents are the means of `log |R_ii|` over time.

    **Arguments:**

    - `step`: a state `(N,)` to the next, traceable by JAX.
    - `start`: `(N,)`.
    - `steps`: of the orbit, in double precision for small errors.
    - `interval`: time that a step takes, 1.
    - `count`: how many exponents, the largest first; `None` for all.
    - `discard`: steps before the mean, until orbit and vectors have settled, 1000.
    - `every`: steps between two decompositions, 10.

    **Returns:** `(count,)`, a unit of time.

    **Reference:** benettin1980lyapunov
    """
    import jax
    import jax.numpy as jnp

    x0 = jnp.asarray(np.asarray(start, float), jnp.zeros(()).dtype)
    number = len(x0) if count is None else count

    def forward(_, carry):
        x, vectors = carry
        value, pushed = jax.vmap(lambda v: jax.jvp(step, (x,), (v,)))(vectors)
        return value[0], pushed

    def round_(carry, _):
        x, vectors = jax.lax.fori_loop(0, every, forward, carry)
        q, r = jnp.linalg.qr(vectors.T)
        return (x, q.T), jnp.log(jnp.abs(jnp.diagonal(r)))

    rounds, before = max(1, steps // every), -(-discard // every)
    program = jax.jit(lambda carry: jax.lax.scan(round_, carry, None, before + rounds)[1])
    # Vectors in general position: the axes may be invariant.
    drawn = np.linalg.qr(np.random.default_rng(0).normal(size=(len(x0), number)))[0]
    growth = program((x0, jnp.asarray(drawn.T, x0.dtype)))
    return np.asarray(growth[before:], float).mean(axis=0) / (every * interval)


def correlation_dimension(
    points: Any, *, lower: float = 1e-5, upper: float = 1e-2, apart: int = 100
) -> float:
    """The correlation dimension of Grassberger and Procaccia.

    The slope of `log C(r)` over `log r`, `C(r)` the share of pairs of points that are
    nearer than `r`, over the radii at which `C` is between two bounds.

    **Arguments:**

    - `points`: `(T, N)` along an orbit, scaled alike in all directions.
    - `lower`, `upper`: bounds of `C`, 1e-5 and 1e-2: below there are few pairs (or noise),
      above the whole attractor is met.
    - `apart`: pairs that are at most so many rows apart do not count, 100: they are near
      because one follows the other.

    **Raises:** `InputError` for too few points.

    **Reference:** grassberger1983measuring
    """
    from scipy.spatial import KDTree

    points = np.asarray(points, float)
    total = (len(points) - apart) * (len(points) - apart - 1) / 2
    if points.ndim != 2 or total * lower < 100:
        raise InputError(
            f"points of shape {points.shape} hold fewer than 100 pairs near each other",
            where="correlation_dimension",
            fix="give a longer orbit (T, N), or a larger lower bound",
        )
    follow = [points[k:] - points[:-k] for k in range(1, apart + 1)]
    beside = np.sort(np.concatenate([np.sqrt((d**2).sum(axis=1)) for d in follow]))
    # Radii from a sample of pairs, then counted among all of them.
    rng = np.random.default_rng(0)
    i, j = rng.integers(0, len(points), (2, 400_000))
    far = np.abs(i - j) > apart
    sample = np.sqrt(((points[i[far]] - points[j[far]]) ** 2).sum(axis=1))
    near, far = np.quantile(sample, [lower, upper])
    radii = np.geomspace(near, far, 16)
    tree = KDTree(points)
    ordered = np.asarray(tree.count_neighbors(tree, radii), float)
    pairs = (ordered - len(points)) / 2 - np.searchsorted(beside, radii, side="right")
    return float(np.polyfit(np.log(radii), np.log(pairs), 1)[0])


def _pair(true: Any, generated: Any) -> tuple[np.ndarray, np.ndarray]:
    true, generated = np.asarray(true, float), np.asarray(generated, float)
    if true.ndim != 2 or generated.ndim != 2 or true.shape[1] != generated.shape[1]:
        raise InputError(
            f"points of shape {true.shape} and {generated.shape}",
            where="metrics",
            fix="give (T, N) and (S, N)",
        )
    if not np.isfinite(true).all():
        raise InputError("the true points must be finite", where="metrics", fix="leave gaps out")
    return true, generated
