r"""Sparse regression of dynamics on candidate functions, without a network.

    y(b) - y(a) = integral_a^b Xi Theta(y(s)) ds

for every pair of neighbouring measurement times, `Theta` the candidates and `Xi` few
coefficients: no derivative of noisy data is taken. The series enter the integrals as
smoothing splines. Small coefficients are put to zero again and again (sequentially
thresholded least squares), or found by a relaxed problem (SR3),

    min_{x, w}  mean |Theta x - y'|^2 / 2 + l |w|_0 + |x - w|^2 / (2 n);

many fits to resampled rows decide which stay, and how sure
they are. Positive variables are fitted by their relative rates, `d log y / dt` on the
candidates, which suits their noise and keeps them positive.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError, suggest
from continua.core.solution import Estimate, Solution
from continua.methods.base import AbstractDirectMethod, Prepared, Support, asked
from continua.methods.dynamics.forecast import forecast_of
from continua.methods.dynamics.library import Library, equation_text
from continua.methods.dynamics.observations import (
    Scaling,
    scaling_of,
    segments_of,
    training_series,
)

_CLEAN = 1e-3
_OPTIMISERS = ("stlsq", "sr3")
_MOST_RELAXED, _STILL = 10_000, 1e-12  # iterations of SR3, and change that ends them
_QUADRATURE = 8  # Gauss points between two measurements


class SparseField(eqx.Module):
    """`dy/dt = Xi Theta(y)`, or `d log y / dt` where the scaling is logarithmic, frozen
    far outside of the data; arrays with a leading axis of members.

    **Arguments:**

    - `coefficients`: `Xi` `(s, f)`.
    - `library`: `Theta`.
    - `scaling`: of the data.
    - `starts`: states at the heads of the series, `(m, s)`.
    - `states`: names.
    """

    coefficients: Float[Array, "... s f"]
    starts: Float[Array, "... m s"]
    library: Library
    scaling: Scaling
    states: tuple[str, ...]

    def scaled_field(self, t: Any, z: Float[Array, " s"]) -> Float[Array, " s"]:
        """`dz/dt`, for one member."""
        # Past ten times the data a polynomial model knows nothing: it is frozen there,
        # so that a bad one gives a bad number rather than none.
        z = jnp.clip(z, -10.0, 10.0)
        y = self.scaling.decode(z)
        slope = self.coefficients @ self.library(y)
        return self.scaling.rate(y, slope * y if self.scaling.log else slope)


@dataclasses.dataclass(frozen=True)
class SINDy(AbstractDirectMethod):
    """Sparse identification of nonlinear dynamics, in weak form with bagging.

    **Arguments:**

    - `degree`: of the polynomials in `dy/dt`, 2.
    - `waves`: whether `sin` and `cos` are candidates, `False`.
    - `optimiser`: `"stlsq"`, sequentially thresholded least squares, or `"sr3"`, sparse
      relaxed regularised regression, which lets terms come back that once were small.
    - `relaxation`: `n` of SR3, in which terms have size 1, 1.
    - `threshold`: terms that move a variable by less than this share of its rate are
      dropped, 0.1.
    - `smoothing`: of the splines: 0 goes through the data; `None` chooses by
      generalised cross-validation.
    - `members`: fits to resampled rows, 50; terms in fewer than `inclusion` of them
      are dropped.
    - `inclusion`: 0.6.
    - `positive`: whether relative rates are fitted; `None` decides by the data.

    **Raises:** `InputError` for another optimiser, and a relaxation that is not positive.

    **Reference:** fasel2022ensemble
    """

    degree: int = 2
    waves: bool = False
    threshold: float = 0.1
    smoothing: float | None = None
    members: int = 50
    inclusion: float = 0.6
    positive: bool | None = None
    optimiser: str = "stlsq"
    relaxation: float = 1.0

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "fasel2022ensemble"

    def __post_init__(self):
        if self.optimiser not in _OPTIMISERS:
            fix = suggest(self.optimiser, _OPTIMISERS)
            raise InputError(f"got '{self.optimiser}'", where="SINDy.optimiser", fix=fix)
        if not self.relaxation > 0:
            raise InputError(
                f"got {self.relaxation}", where="SINDy.relaxation", fix="give a positive number"
            )

    @property
    def sparse(self) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """What finds few coefficients for one variable."""
        if self.optimiser == "sr3":
            return partial(relaxed, threshold=self.threshold, relaxation=self.relaxation)
        return partial(thresholded, threshold=self.threshold)

    def supports(self, problem) -> Support:
        return asked(problem, self.name)

    def ladder(self, problem) -> tuple["SINDy", ...]:
        return tuple(dataclasses.replace(self, degree=d) for d in (1, 2, 3))

    def prepare(self, problem, *, key) -> Prepared:
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        variables = tuple(problem.variables)
        log = scaling_of(problem, variables, self.positive).log
        # A relative rate of degree d - 1 is a rate of degree d.
        library = Library(variables, self.degree - log, self.waves)

        def program(series):
            smooth = [smooth_series(t, np.log(y) if log else y, self.smoothing) for t, y in series]
            left, right = weak_rows(series, smooth, library, log)
            found = ensemble(left, right, self.sparse, self.members, self.inclusion, seed)
            return (*found, smooth)

        def finish(outputs) -> Solution:
            return self._solution(problem, library, log, *outputs)

        return Prepared(program, training_series(problem), finish, traced=False)

    def _solution(self, problem, library, log, xi, draws, smooth) -> Solution:
        variables = tuple(problem.variables)
        scaling = scaling_of(problem, variables, log)
        segments = segments_of(problem, variables, scaling, 0)
        series = training_series(problem)
        heads = np.stack([s(t[0]) for s, (t, _) in zip(smooth, series, strict=True)])
        dtype = jnp.zeros(()).dtype
        members = np.concatenate([xi[None], draws[: min(9, len(draws))]])
        starts = jnp.asarray(scaling.encode(np.exp(heads) if log else heads), dtype)

        def model(stack):
            return SparseField(
                jnp.asarray(stack, dtype),
                jnp.broadcast_to(starts, (len(stack), *starts.shape)),
                library,
                scaling,
                variables,
            )

        best = forecast_of(model(xi[None]), problem, segments, 4)
        spread = forecast_of(model(members), problem, segments, 4)
        names = [library.names_times(v if log else None) for v in variables]
        parameters = {
            f"{v}_t: {names[i][j]}": Estimate(float(xi[i, j]), float(draws[:, i, j].std()))
            for i, v in enumerate(variables)
            for j in np.flatnonzero(xi[i])
        }
        return Solution(
            method=self.name,
            unknowns=variables,
            coordinates=best.coordinates,
            grid=best.grid(problem),
            evaluator=best,
            spread=dataclasses.replace(spread, deviation=True),
            parameters=parameters,
            equations=tuple(equation_text(v, xi[i], names[i]) for i, v in enumerate(variables)),
            stats={"terms": float(np.count_nonzero(xi))},
        )


class SmoothSeries:
    """A series as one spline for each variable.

    **Arguments:**

    - `splines`: one a variable.
    """

    def __init__(self, splines: list):
        self.splines = splines

    def __call__(self, t):
        """Values `(*, c)`."""
        return np.stack([spline(t) for spline in self.splines], axis=-1)


def smooth_series(t: np.ndarray, y: np.ndarray, smoothing: float | None) -> SmoothSeries:
    """Splines through (or near) measurements with gaps.

    **Arguments:**

    - `t`, `y`: `(T,)`, `(T, C)`, NaN in gaps.
    - `smoothing`: as in `SINDy`.
    """
    from scipy.interpolate import make_smoothing_spline, make_splrep

    splines = []
    for column in y.T:
        there = np.isfinite(column)
        times, values = t[there], column[there]
        through = make_splrep(times, values, k=min(5, len(times) - 1), s=0)
        if smoothing == 0 or len(times) < 5:
            splines.append(through)
            continue
        near = make_smoothing_spline(times, values, lam=smoothing)
        noise = np.median(np.abs(values - near(times)))
        # Many data without noise deserve the spline of higher order through them.
        clean = len(times) >= 100 and noise < _CLEAN * np.std(values)
        clean &= smoothing is None
        splines.append(through if clean else near)
    return SmoothSeries(splines)


def weak_rows(series, smooth, library: Library, log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Both sides of the integral equation, one row for each pair of times.

    **Returns:** integrals of the candidates `(n, f)`, and increments `(n, c)`, both
    over the length of the interval.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_QUADRATURE)
    left, right = [], []
    for (t, _), spline in zip(series, smooth, strict=True):
        h = np.diff(t)
        places = t[:-1, None] + h[:, None] * (nodes + 1) / 2
        values = spline(places)
        features = library(np.exp(values) if log else values)
        left.append(np.einsum("q,nqf->nf", weights / 2, features))
        right.append(np.diff(spline(t), axis=0) / h[:, None])
    return np.concatenate(left), np.concatenate(right)


def thresholded(left: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
    """Sequentially thresholded least squares for one variable.

    **Arguments:**

    - `left`: `(n, f)`; `right`: `(n,)`.
    - `threshold`: the least root mean square of a term, in those of `right`.

    **Reference:** brunton2016discovering
    """
    scaled, goal, unit = _scaled(left, right)
    active = np.ones(left.shape[1], bool)
    found = np.zeros(left.shape[1])
    for _ in range(left.shape[1] + 1):
        found[:] = 0.0
        if active.any():
            found[active] = np.linalg.lstsq(scaled[:, active], goal, rcond=1e-12)[0]
        keep = np.abs(found) >= threshold
        if (keep == active).all():
            break
        active = keep
    return found * unit


def relaxed(left: np.ndarray, right: np.ndarray, threshold: float, relaxation: float) -> np.ndarray:
    r"""Sparse relaxed regularised regression for one variable, then least squares on what
    it keeps.

        x <- (A^T A / n + I / r)^-1 (A^T b / n + w / r),   w <- x where |x| >= threshold,

    which lowers `|A x - b|^2 / (2 n) + threshold^2 |w|_0 / (2 r) + |x - w|^2 / (2 r)`.

    **Arguments:**

    - `left`, `right`, `threshold`: as `thresholded`.
    - `relaxation`: `r`, in which terms have size 1.

    **Reference:** champion2020unified
    """
    scaled, goal, unit = _scaled(left, right)
    count, size = scaled.shape
    matrix = scaled.T @ scaled / count + np.eye(size) / relaxation
    right_side = scaled.T @ goal / count
    kept = np.linalg.lstsq(scaled, goal, rcond=1e-12)[0]
    for _ in range(_MOST_RELAXED):
        found = np.linalg.solve(matrix, right_side + kept / relaxation)
        new = np.where(np.abs(found) >= threshold, found, 0.0)
        moved = np.max(np.abs(new - kept))
        kept = new
        if moved < _STILL:
            break
    active = kept != 0
    if active.any():
        kept[active] = np.linalg.lstsq(scaled[:, active], goal, rcond=1e-12)[0]
    return kept * unit


def _scaled(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both sides with root mean squares of 1, and the units of the coefficients."""
    size = np.sqrt((left**2).mean(axis=0))
    size = np.where(size > 0, size, 1.0)
    target = np.sqrt((right**2).mean()) or 1.0
    return left / size, right / target, target / size


def ensemble(
    left: np.ndarray,
    right: np.ndarray,
    sparse: Callable[[np.ndarray, np.ndarray], np.ndarray],
    members: int,
    inclusion: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Bagging: terms that most resampled fits keep, refitted to all rows.

    **Arguments:**

    - `left`, `right`: `(n, f)`, `(n, c)`.
    - `sparse`: `(left, right[:, i])` to few coefficients.
    - `members`, `inclusion`: as `SINDy`.
    - `seed`: of the resampling.

    **Returns:** coefficients `(c, f)`, and those of the resampled fits `(k, c, f)` on
    the same terms.

    **Reference:** fasel2022ensemble
    """
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, len(left), len(left)) for _ in range(members)]
    count = right.shape[1]
    draws = np.stack([np.stack([sparse(left[r], right[r, i]) for i in range(count)]) for r in rows])
    whole = np.stack([sparse(left, right[:, i]) for i in range(count)])
    kept = ((draws != 0).mean(axis=0) >= inclusion) & (whole != 0)

    def refit(a, b):
        out = np.zeros((count, left.shape[1]))
        for i in range(count):
            if kept[i].any():
                out[i, kept[i]] = np.linalg.lstsq(a[:, kept[i]], b[:, i], rcond=None)[0]
        return out

    return refit(left, right), np.stack([refit(left[r], right[r]) for r in rows])
