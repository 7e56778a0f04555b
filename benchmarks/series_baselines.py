"""Classical classifiers of series, on a grid filled by straight lines.

They are no programs of their own; `series_classification` runs them.
"""

import numpy as np

from continua.methods.classical.random_convolutions import RandomConvolutions, on_grid
from continua.problems import SeriesProblem


def scaled_on_grid(problem: SeriesProblem, length: int) -> np.ndarray:
    """All series at even times, scaled by those to learn from, `(r, L, C)`.

    **Arguments:**

    - `problem`: gaps and missing rows are filled by straight lines.
    - `length`: times.
    """
    values = on_grid(problem.series, length)
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

    - `problem`, `length`: as `scaled_on_grid`; `seed`: of no effect.
    - `band`: how far times may be warped, a share of the length.
    """
    values = scaled_on_grid(problem, length).astype(np.float32)
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


def random_convolutions(problem: SeriesProblem, length: int, seed: int) -> np.ndarray:
    """Probabilities by the library's ridge regression on random convolutions.

    **Arguments:**

    - `problem`, `length`: as `scaled_on_grid`.
    - `seed`: of the kernels.
    """
    fitted = RandomConvolutions(length=max(length, 7)).fitted(problem, seed)
    return fitted.told[list(problem.tested)]
