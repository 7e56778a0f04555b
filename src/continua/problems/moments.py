r"""Means and variances of stochastic problems without sampling.

With the generator `L m = sum_i f_i dm/dx_i + 1/2 sum_ij (g g^T)_ij d^2m/dx_i dx_j` of the
process in Ito's reading, `d/dt E[m(X)] = E[(L m)(X)]`. Where monomials are mapped to finitely
many monomials this is a linear system, solved by the matrix exponential. In one dimension
with an invariant density `p` the generator is symmetric,

    <u, L v>_p = -1/2 int u' v' g^2 p dx,   p = exp(int 2 f / g^2 dx) / g^2,

and is diagonalised in polynomials that are orthonormal under `p`.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import sympy

from continua.equations.parse import parameter_symbol
from continua.problems.formulas import numpy_function
from continua.problems.reference import AbstractReference, check_times, points_of
from continua.problems.stochastic import StochasticProblem

_MOST_MOMENTS = 64
_TAIL = 80.0  # logarithm of what is neglected beside the largest value of a density
_WIDEST = 1e6  # half width at which the search for such a tail ends
_PIECES = 256  # degree of the Chebyshev series for the logarithm of the density
_NODES = 800  # of the trapezoidal rule
_DEGREES = (90, 120)


@dataclasses.dataclass(frozen=True, eq=False)
class _AbstractMoments(AbstractReference):
    """Means and variances at times, from the first two moments of each unknown."""

    problem: StochasticProblem

    def adapted(self, problem: Any) -> AbstractReference | None:
        return self if self.problem == problem else moment_reference(problem)

    def values(self, *coordinates: Any) -> np.ndarray:
        """Rows as `StochasticProblem.quantities`."""
        (t,) = points_of(self.problem.equation.coordinates, coordinates)
        first, last = self.problem.domain[str(self.problem.equation.time)]
        check_times(t, first, last)
        means, squares = self._solved().at(t.reshape(-1) - first)
        return np.concatenate([means, squares - means**2]).reshape(-1, *t.shape)

    @property
    def error(self) -> float:
        """Relative L2 difference of two ways to compute it."""
        (times,) = self.problem.evaluation_grid().values()
        solved = self._solved()
        found, other = (
            np.concatenate([m, s - m**2])
            for m, s in (way(times - times[0]) for way in (solved.at, solved.otherwise))
        )
        size = np.linalg.norm(found)
        return max(float(np.linalg.norm(found - other) / size), 1e-15)

    def _solved(self) -> "_Solved":
        return _solved(self)


@dataclasses.dataclass(frozen=True, eq=False)
class MomentReference(_AbstractMoments):
    """Moments that obey a closed linear system, by the matrix exponential.

    **Arguments:**

    - `problem`: with polynomial drift and squared diffusion whose moments close, as those
      of linear equations, square-root processes and their mixes. `max(x, 0)` counts as
      `x`: the process must stay where it is.

    **Reference:** almohy2011computing
    """

    @property
    def evidence(self) -> str:
        return (
            "closed equations of the moments by the matrix exponential; "
            "in two half steps it differs by less than the error"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class SpectrumReference(_AbstractMoments):
    """Moments of a process in one dimension by the spectrum of its generator.

    **Arguments:**

    - `problem`: of one unknown, autonomous, with an invariant density that falls off to
      either side.

    **Reference:** risken1989fokker
    """

    @property
    def evidence(self) -> str:
        return (
            f"eigenfunctions of the generator in {_DEGREES[1]} orthonormal polynomials; "
            f"{_DEGREES[0]} differ by less than the error"
        )


class _Solved(NamedTuple):
    """First and second moments `(n, T)` at times since the start, in two ways."""

    at: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    otherwise: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def moment_reference(problem: StochasticProblem) -> AbstractReference | None:
    """The reference that a stochastic problem can have without sampling.

    **Arguments:**

    - `problem`: a stochastic problem.

    **Returns:** a `MomentReference`, a `SpectrumReference`, or `None` where moments do not
    close, and there are several unknowns or no invariant density.
    """
    bare = dataclasses.replace(problem, reference=None)
    if _closed(bare) is not None:
        return MomentReference(bare)
    return SpectrumReference(bare) if _invariant(bare) is not None else None


def with_moments(problem: StochasticProblem) -> StochasticProblem:
    """The problem with its reference, where it has none and can have one.

    **Arguments:**

    - `problem`: a stochastic problem.
    """
    if problem.reference is not None:
        return problem
    return dataclasses.replace(problem, reference=moment_reference(problem))


@functools.lru_cache(maxsize=16)
def _solved(reference: _AbstractMoments) -> _Solved:
    if isinstance(reference, MomentReference):
        return _by_exponential(reference.problem)
    return _by_spectrum(reference.problem)


def _numbers(problem: StochasticProblem) -> dict[sympy.Symbol, Any]:
    return {parameter_symbol(p): sympy.Float(v, 17) for p, v in problem.parameters.items()}


@functools.lru_cache(maxsize=64)
def _closed(problem: StochasticProblem) -> dict[tuple[int, ...], dict] | None:
    """What the generator makes of each monomial that is needed, by exponents; `None` where
    that is no polynomial or does not end."""
    states = list(problem.symbols().values())
    f, g = problem.ito_drift(), problem.diffusion()
    cut = {sympy.Max(0, s): s for s in states}
    f, square = f.xreplace(cut), (g * g.T).xreplace(cut)
    unit = np.eye(len(states), dtype=int)
    wanted = [tuple(map(int, k * row)) for k in (1, 2) for row in unit]
    rows: dict[tuple[int, ...], dict] = {}
    while wanted:
        powers = wanted.pop()
        if powers in rows:
            continue
        if len(rows) == _MOST_MOMENTS:
            return None
        monomial = sympy.prod(s**k for s, k in zip(states, powers, strict=True))
        slopes = [sympy.diff(monomial, s) for s in states]
        curves = sympy.hessian(monomial, states)
        image = sum(a * b for a, b in zip(f, slopes, strict=True))
        image += (square * curves).trace() / 2
        try:
            found = sympy.Poly(sympy.expand(image), *states)
        except sympy.PolynomialError:
            return None
        if found.free_symbols_in_domain - set(_numbers(problem)):
            return None  # coefficients that move in time
        rows[powers] = {k: v for k, v in found.terms() if v != 0}
        wanted += rows[powers]
    return rows


def _by_exponential(problem: StochasticProblem) -> _Solved:
    from scipy.linalg import expm

    rows, numbers = _closed(problem) or {}, _numbers(problem)
    names = list(rows)
    matrix = np.zeros((len(names), len(names)))
    for i, row in enumerate(rows.values()):
        for powers, coefficient in row.items():
            matrix[i, names.index(powers)] = float(coefficient.subs(numbers))
    start = np.prod(problem.start() ** np.array(names), axis=1)
    unit = np.eye(len(problem.equation.unknowns), dtype=int)
    first, second = ([names.index(tuple(map(int, k * row))) for row in unit] for k in (1, 2))

    def at(times):
        found = (expm(matrix * times[:, None, None]) @ start).T
        return found[first], found[second]

    def otherwise(times):
        half = expm(matrix * times[:, None, None] / 2)
        found = (half @ (half @ start)[..., None])[..., 0].T
        return found[first], found[second]

    return _Solved(at, otherwise)


class _Density(NamedTuple):
    """Where a density is not negligible, its logarithm there, and the diffusion."""

    low: float
    high: float
    logarithm: Callable[[np.ndarray], np.ndarray]
    diffusion: Callable[[np.ndarray], np.ndarray]


@functools.lru_cache(maxsize=64)
def _invariant(problem: StochasticProblem) -> _Density | None:
    """The invariant density of one unknown, `None` where it does not fall off."""
    from numpy.polynomial.chebyshev import Chebyshev

    states = list(problem.symbols().values())
    f, g = (m.subs(_numbers(problem)) for m in (problem.ito_drift(), problem.diffusion()))
    square = (g * g.T)[0]
    if len(states) > 1 or {*f.free_symbols, *square.free_symbols} - set(states):
        return None
    rate, width = (
        numpy_function(e, states) for e in (sympy.simplify(2 * f[0] / square), sympy.sqrt(square))
    )
    x0 = float(problem.start()[0])

    def diffusion(x):
        return np.broadcast_to(np.asarray(width(x), float), x.shape)

    half = 1.0
    while half < _WIDEST:
        low, high = x0 - half, x0 + half
        with np.errstate(all="ignore"):
            slope = Chebyshev.interpolate(lambda x: rate(x) + 0 * x, _PIECES, [low, high])
        if not np.all(np.isfinite(slope.coef)):
            return None
        potential = slope.integ(lbnd=x0)
        x = np.linspace(low, high, 4001)

        def logarithm(x, potential=potential):
            return potential(x) - 2 * np.log(diffusion(x))

        with np.errstate(all="ignore"):
            told = logarithm(x)
        if not np.all(np.isfinite(told)):
            return None
        told -= told.max()
        if max(told[0], told[-1]) < -_TAIL:
            inside = x[told > -_TAIL]
            return _Density(inside[0], inside[-1], logarithm, diffusion)
        half *= 1.25
    return None


def _by_spectrum(problem: StochasticProblem) -> _Solved:
    density = _invariant(problem)
    assert density is not None
    x0 = float(problem.start()[0])
    # The density is negligible at both ends, where the trapezoidal rule has no equal.
    x = np.linspace(density.low, density.high, _NODES)
    told = density.logarithm(x)
    root = np.exp((told - told.max()) / 2)
    coarse, fine = (_expansion(x, root, density.diffusion(x), x0, n) for n in _DEGREES)
    return _Solved(fine, coarse)


def _expansion(x, root, diffusion, x0: float, degree: int) -> Callable:
    """Moments of orders 1 and 2 in polynomials up to a degree, by their recurrence.

    `root` is the square root of the density, up to a factor, at even nodes `x`.
    """
    scale = 1 / np.linalg.norm(root)
    places = np.append(x, x0)
    phi, slopes = [np.full(len(places), scale)], [np.zeros(len(places))]
    before, slope_before, b = 0.0, 0.0, 0.0
    for _ in range(degree):
        last, slope = phi[-1], slopes[-1]
        a = np.sum(x * (root * last[:-1]) ** 2)
        new = (places - a) * last - b * before
        new_slope = last + (places - a) * slope - b * slope_before
        before, slope_before = last, slope
        b = np.linalg.norm(root * new[:-1])
        phi.append(new / b)
        slopes.append(new_slope / b)
    basis = np.array(phi)[:, :-1] * root
    steep = np.array(slopes)[:, :-1] * root * diffusion
    rates, vectors = np.linalg.eigh(steep @ steep.T / 2)
    here = vectors.T @ np.array(phi)[:, -1]
    parts = [here * (vectors.T @ (basis @ (root * x**k))) for k in (1, 2)]

    def at(times):
        decay = np.exp(-np.outer(times, rates))
        return tuple((decay @ part)[None] for part in parts)

    return at
