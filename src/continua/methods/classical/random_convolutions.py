r"""Ridge regression on random convolutions: the classical method for classes of series.

Series are taken at even times, gaps filled by straight lines. A random kernel `w` of length 7, 9
or 11 with dilation `d` and bias `b` gives `c_i = b + sum_j w_j x_{i + j d}`; of each the largest
value and the share of positive ones are features `f`, and scores are `f B + b_0`,

    B = argmin |f B - y|^2 + penalty |B|^2,

`y` 1 for the class and -1 for the others, or the number. The penalty has the least error of
leaving one series out; so has the factor that makes probabilities of scores, `softmax(c s)`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import numpy as np

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.base import AbstractDirectMethod, Prepared, Support, asked
from continua.problems import Series, SeriesProblem

_PENALTIES = 10.0 ** np.arange(-3, 4)
# Few series left out say little for more than this.
_SHARPNESS = 2.0 ** np.arange(-2, 4)
_MOST = 1000  # rows of the grid


@dataclasses.dataclass(frozen=True)
class RandomConvolutions(AbstractDirectMethod):
    """Ridge regression on features of random convolutions (ROCKET).

    **Arguments:**

    - `kernels`: how many, 1000; two features each.
    - `length`: times that series are taken at; `None` for rows of the longest series to
      learn from, up to 1000.

    **Raises:** `InputError` for fewer than one kernel, or a grid shorter than a kernel.

    **Reference:** dempster2020rocket
    """

    kernels: int = 1000
    length: int | None = None

    kind: ClassVar[str] = "classical"
    reference: ClassVar[str] = "dempster2020rocket"

    def __post_init__(self):
        for name, value, least in (("kernels", self.kernels, 1), ("length", self.length, 7)):
            if value is not None and value < least:
                raise InputError(
                    f"got {value}", where=f"{self.name}.{name}", fix=f"give {least} or more"
                )

    def supports(self, problem) -> Support:
        return asked(problem, self.name, ("classify", "regress"), takes=("inputs", "statics"))

    def ladder(self, problem) -> tuple["RandomConvolutions", ...]:
        return tuple(dataclasses.replace(self, kernels=k) for k in (100, 300, 1000, 3000))

    def prepare(self, problem, *, key) -> Prepared:
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        grid = problem.evaluation_grid()

        def finish(evaluator: "Convolved") -> Solution:
            return Solution(
                method=self.name,
                unknowns=problem.outputs,
                coordinates=tuple(grid),
                grid=grid,
                evaluator=evaluator,
            )

        return Prepared(lambda p: self.fitted(p, seed), problem, finish, traced=False)

    def fitted(self, problem: SeriesProblem, seed: int) -> "Convolved":
        """The regression on the series to learn from, and what it tells of all.

        **Arguments:**

        - `problem`: of classes or numbers.
        - `seed`: of the kernels.
        """
        rows = max(len(problem.series[i].t) for i in problem.learned)
        length = max(min(rows, _MOST), 7) if self.length is None else self.length
        values = on_grid(problem.series, length)
        learned = values[list(problem.learned)]
        scale = learned.std(axis=(0, 1))
        center, scale = learned.mean(axis=(0, 1)), np.where(scale > 0, scale, 1.0)
        statics = np.array([problem.statics[n] for n in problem.statics]).T
        none = np.zeros(0)
        plain = Convolved(
            seed=seed,
            kernels=self.kernels,
            length=length,
            center=center,
            scale=scale,
            classes=problem.classes,
            mean=none,
            deviation=none,
            weights=none,
            offset=none,
            sharpness=1.0,
            told=none,
        )
        features = plain.features(values, statics.reshape(len(values), -1))
        ridge = _ridge(features, problem)
        told = dataclasses.replace(plain, **ridge)
        return dataclasses.replace(told, told=told.answers(features))


@dataclasses.dataclass(frozen=True, eq=False)
class Convolved:
    """A fitted regression, and what it tells of the series of the problem.

    **Arguments:**

    - `seed`, `kernels`, `length`: of the features.
    - `center`, `scale`: of the channels.
    - `classes`: empty for numbers.
    - `mean`, `deviation`: of the features; `weights` `(f, K)`, `offset` `(K,)`.
    - `sharpness`: from scores to probabilities.
    - `told`: `(r, K)`.
    """

    seed: int
    kernels: int
    length: int
    center: np.ndarray
    scale: np.ndarray
    classes: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    sharpness: float
    told: np.ndarray

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(m, K)` at points `(m, 1)`, numbers of series of the problem."""
        return self.told[np.rint(np.asarray(points, float)[:, 0]).astype(int)]

    def predict(self, series: Sequence[Series], statics: Any = ()) -> np.ndarray:
        """Probabilities of the classes, or numbers, of other series.

        **Arguments:**

        - `series`: of the channels that were learned from.
        - `statics`: a row for each series, where the problem has any.

        **Returns:** `(r, K)`.

        **Raises:** `InputError` for series of other channels.
        """
        values = on_grid(series, self.length)
        if values.shape[2] != len(self.center):
            raise InputError(
                f"{values.shape[2]} channels, but {len(self.center)} were learned from",
                where="predict.series",
                fix="give it the same channels in the same order",
            )
        rest = np.asarray(statics, float).reshape(len(values), -1)
        return self.answers(self.features(values, rest))

    def features(self, values: np.ndarray, statics: np.ndarray) -> np.ndarray:
        """The features of series on the grid, statics behind them, `(r, f)`."""
        scaled = np.moveaxis((values - self.center) / self.scale, 2, 1)
        found = convolution_features(scaled, self.kernels, self.seed)
        return np.concatenate([found, statics], axis=1)

    def answers(self, features: np.ndarray) -> np.ndarray:
        """Probabilities or numbers from features."""
        scores = (features - self.mean) / self.deviation @ self.weights + self.offset
        return _softmax(self.sharpness * scores) if self.classes else scores


def on_grid(series: Sequence[Series], length: int) -> np.ndarray:
    """Series at even times from their first to their last, gaps filled by straight lines and
    0 in channels without a value, `(r, length, C)`.

    **Arguments:**

    - `series`: inputs count as channels.
    - `length`: times.
    """
    found = []
    for one in series:
        t = np.linspace(one.t[0], one.t[-1], length)
        table = one.y if one.inputs is None else np.concatenate([one.y, one.inputs], axis=1)
        columns = []
        for y in table.T:
            there = np.isfinite(y)
            columns.append(np.interp(t, one.t[there], y[there]) if there.any() else 0 * t)
        found.append(np.stack(columns, axis=1))
    return np.stack(found)


def convolution_features(values: np.ndarray, kernels: int, seed: int) -> np.ndarray:
    """The largest value and the share of positive values of random convolutions, `(r, 2 k)`.

    Weights are normal with mean 0, dilations even on a logarithmic scale, half of the
    kernels are padded, each sees some of the channels.

    **Arguments:**

    - `values`: `(r, C, L)`.
    - `kernels`, `seed`: how many, and of their draw.
    """
    rng = np.random.default_rng(seed)
    count, channels, length = values.shape
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
    return features


def _ridge(features: np.ndarray, problem: SeriesProblem) -> dict[str, Any]:
    """Weights, offset and sharpness, by leaving one series out."""
    learned = list(problem.learned)
    mean, std = features[learned].mean(axis=0), features[learned].std(axis=0)
    std = np.where(std > 0, std, 1.0)
    x = (features[learned] - mean) / std
    if problem.task == "regress":
        y = np.array([[float(problem.targets[i])] for i in learned])
    else:
        right = [problem.classes.index(str(problem.targets[i])) for i in learned]
        y = 2 * np.eye(len(problem.classes))[right] - 1
    middle = y.mean(axis=0)
    u, s, v = np.linalg.svd(x, full_matrices=False)
    best: tuple[float, np.ndarray, np.ndarray] = (np.inf, y, y)
    for penalty in _PENALTIES:
        shrink = s**2 / (s**2 + penalty)
        fitted = (u * shrink) @ (u.T @ (y - middle))
        # The mean takes 1/n of every row's weight as well.
        leverage = (u**2) @ shrink + 1 / len(learned)
        gaps = (y - middle - fitted) / (1 - leverage)[:, None]
        error = float(np.mean(gaps**2))
        if error < best[0]:
            weights = v.T @ ((s / (s**2 + penalty))[:, None] * (u.T @ (y - middle)))
            best = (error, weights, y - gaps)
    _, weights, left_out = best
    sharpness = 1.0
    if problem.classes:
        places = np.argmax(y, axis=1)[:, None]
        losses = [
            -np.mean(np.log(np.take_along_axis(_softmax(c * left_out), places, 1) + 1e-300))
            for c in _SHARPNESS
        ]
        sharpness = float(_SHARPNESS[int(np.argmin(losses))])
    return {
        **{"mean": mean, "deviation": std, "weights": weights},
        **{"offset": middle, "sharpness": sharpness},
    }


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
