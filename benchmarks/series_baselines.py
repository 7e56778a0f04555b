"""Classical classifiers of series, on a grid filled by straight lines.

They are no programs of their own; `series_classification` runs them.
"""

import numpy as np

from continua.problems import SeriesProblem


def on_grid(problem: SeriesProblem, length: int) -> np.ndarray:
    """All series at `length` even times from their first to their last, scaled, `(r, L, C)`.

    **Arguments:**

    - `problem`: gaps and missing rows are filled by straight lines.
    - `length`: times.
    """
    found = []
    for series in problem.series:
        t = np.linspace(series.t[0], series.t[-1], length)
        columns = []
        for y in series.y.T:
            there = np.isfinite(y)
            columns.append(np.interp(t, series.t[there], y[there]))
        found.append(np.stack(columns, axis=1))
    values = np.stack(found)
    learned = values[list(problem.learned)]
    return (values - learned.mean(axis=(0, 1))) / learned.std(axis=(0, 1))


def numbers_of(problem: SeriesProblem) -> np.ndarray:
    """The numbers of the classes of the series to learn from."""
    return np.array([problem.classes.index(str(problem.targets[i])) for i in problem.learned])


def majority(problem: SeriesProblem, length: int, seed: int) -> np.ndarray:
    """Shares of the classes among the series to learn from, for every tested one.

    **Arguments:**

    - `problem`: says the classes; `length`, `seed`: of no effect.
    """
    shares = np.bincount(numbers_of(problem), minlength=len(problem.classes)) / len(problem.learned)
    return np.tile(shares, (len(problem.tested), 1))


def warped_neighbour(
    problem: SeriesProblem, length: int, seed: int, band: float = 0.1
) -> np.ndarray:
    """The class of the nearest series by dynamic time warping.

    `D_ij = |a_i - b_j|^2 + min(D_{i-1,j}, D_{i,j-1}, D_{i-1,j-1})`, all pairs at once.

    **Arguments:**

    - `problem`, `length`: as `on_grid`; `seed`: of no effect.
    - `band`: how far times may be warped, a share of the length.
    """
    values = on_grid(problem, length).astype(np.float32)
    a, b = values[list(problem.tested)], values[list(problem.learned)]
    far, reach = np.float32(np.inf), max(1, round(band * length))
    shape = (len(a), len(b))
    # Rows of the band alone: entry `k` of row `i` is `j = i - reach + k`.
    before = np.full((2 * reach + 3, *shape), far, np.float32)
    for i in range(length):
        here = np.full_like(before, far)
        for k in range(2 * reach + 1):
            j = i - reach + k
            if not 0 <= j < length:
                continue
            cost = np.zeros(shape, np.float32)
            for c in range(values.shape[2]):
                cost += np.square(a[:, None, i, c] - b[None, :, j, c])
            if i or j:
                cost += np.minimum(np.minimum(before[k + 2], before[k + 1]), here[k])
            here[k + 1] = cost
        before = here
    nearest = numbers_of(problem)[np.argmin(before[reach + 1], axis=1)]
    return np.eye(len(problem.classes))[nearest]


def random_convolutions(
    problem: SeriesProblem, length: int, seed: int, kernels: int = 1000
) -> np.ndarray:
    """Ridge regression on the largest value and the share of positive values of random
    convolutions: lengths 7, 9 and 11, normal weights of mean 0, dilations spread evenly on a
    logarithmic scale, padded or not. The penalty has the least error of leaving one out.

    **Arguments:**

    - `problem`, `length`: as `on_grid`.
    - `seed`: of the kernels; `kernels`: their number.
    """
    rng = np.random.default_rng(seed)
    values = np.moveaxis(on_grid(problem, length), 2, 1)
    count, channels, _ = values.shape
    features = np.empty((count, 2 * kernels))
    for k in range(kernels):
        size = int(rng.choice((7, 9, 11)))
        size = size if size <= length else 7
        dilation = int(2 ** rng.uniform(0, np.log2(max((length - 1) / (size - 1), 1.0))))
        used = rng.permutation(channels)[: int(2 ** rng.uniform(0, np.log2(channels + 1)))]
        weights = rng.standard_normal((len(used), size))
        weights -= weights.mean()
        pad = (size - 1) * dilation // 2 if rng.random() < 0.5 else 0
        padded = np.pad(values[:, used], ((0, 0), (0, 0), (pad, pad)))
        places = padded.shape[2] - (size - 1) * dilation
        found = np.full((count, places), rng.uniform(-1, 1))
        for j in range(size):
            part = padded[:, :, j * dilation : j * dilation + places]
            found += np.einsum("ncp,c->np", part, weights[:, j])
        features[:, 2 * k], features[:, 2 * k + 1] = found.max(axis=1), (found > 0).mean(axis=1)
    return _ridge(features, problem)


def _ridge(features: np.ndarray, problem: SeriesProblem) -> np.ndarray:
    """Scores of the classes, one against the rest; the penalty by leaving one out."""
    learned, tested = list(problem.learned), list(problem.tested)
    mean, std = features[learned].mean(axis=0), features[learned].std(axis=0)
    x = (features - mean) / np.where(std > 0, std, 1.0)
    y = 2 * np.eye(len(problem.classes))[numbers_of(problem)] - 1
    middle = y.mean(axis=0)
    u, s, v = np.linalg.svd(x[learned], full_matrices=False)
    best = (np.inf, np.zeros(0))
    for penalty in 10.0 ** np.arange(-3, 4):
        shrink = s**2 / (s**2 + penalty)
        fitted = (u * shrink) @ (u.T @ (y - middle))
        # The mean takes 1/n of every row's weight as well.
        leverage = (u**2) @ shrink + 1 / len(learned)
        gaps = (y - middle - fitted) / (1 - leverage)[:, None]
        error = float(np.mean(gaps**2))
        if error < best[0]:
            best = (error, v.T @ ((s / (s**2 + penalty))[:, None] * (u.T @ (y - middle))))
    return x[tested] @ best[1] + middle
