"""What methods for inverse problems share: products with the forward operator, its transpose
and the penalty; the decomposition of small problems; fields as solutions."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError
from continua.core.results import Result
from continua.core.solution import Solution
from continua.problems.inverse import GridField, InverseProblem

_SINGULAR = 1e-14  # reciprocal condition below which the posterior is no density
_COUNT = 400  # parameters among which the best is looked for


def check_penalty(name: str, order: int, parameter: float | None) -> None:
    """Whether order and weight of a penalty make sense.

    **Arguments:**

    - `name`: of the method.
    - `order`, `parameter`: as `Tikhonov`.

    **Raises:** `InputError` where they do not.
    """
    if order not in (0, 1, 2):
        raise InputError(f"got {order!r}", where=f"{name}.order", fix="give 0, 1 or 2")
    if parameter is not None and not (parameter >= 0 and np.isfinite(parameter)):
        raise InputError(
            f"got {parameter!r}", where=f"{name}.parameter", fix="give a number from 0 on"
        )


def too_few_nodes(name: str, problem: InverseProblem, order: int) -> str:
    """Why differences cannot be taken on the grid; empty where they can."""
    for axis, count in zip(problem.grid, problem.shape, strict=True):
        if count <= order:
            return f"{name} of order {order} needs {order + 1} nodes along '{axis}'"
    return ""


def penalty(grid: Any, order: int) -> Callable[[Any], Any]:
    """`L` as a function of fields `(*N)`: divided differences of all axes in one vector.

    **Arguments:**

    - `grid`: nodes of each axis, even or not.
    - `order`: 0 for the identity, 1 or 2.
    """
    if order == 0:
        return lambda u: u.reshape(-1)

    def along(u, axis, x):
        steps = [len(x) - 1 if i == axis else 1 for i in range(u.ndim)]
        h = np.diff(x)
        found = jnp.diff(u, axis=axis) / jnp.asarray(h, u.dtype).reshape(steps)
        if order == 2:
            steps[axis] -= 1
            middle = (h[1:] + h[:-1]) / 2
            found = jnp.diff(found, axis=axis) / jnp.asarray(middle, u.dtype).reshape(steps)
        return found.reshape(-1)

    axes = list(grid.values())
    return lambda u: jnp.concatenate([along(u, i, x) for i, x in enumerate(axes)])


@dataclasses.dataclass(frozen=True)
class Products:
    """The forward operator, its derivative and the penalty as programs, compiled once.

    **Arguments:**

    - `problem`: with a forward operator that JAX can differentiate.
    - `order`: of the penalty.
    """

    problem: InverseProblem
    order: int

    @property
    def scale(self) -> float:
        """The noise, 1 where it is not known."""
        return self.problem.noise or 1.0

    @functools.cached_property
    def operator(self) -> Callable[[Any], Any]:
        """`A(u) / s` on flat vectors."""
        function, shape = self.problem.operator(), self.problem.shape
        return lambda u: function(u.reshape(shape)).reshape(-1) / self.scale

    @functools.cached_property
    def value(self) -> Callable[[Any], Any]:
        """`A(u) / s`, compiled."""
        return jax.jit(self.operator)

    @functools.cached_property
    def forward(self) -> Callable[[Any, Any], Any]:
        """`J(u) v / s`."""
        return jax.jit(lambda u, v: jax.jvp(self.operator, (u,), (v,))[1])

    @functools.cached_property
    def adjoint(self) -> Callable[[Any, Any], Any]:
        """`J(u)' w / s`."""
        return jax.jit(lambda u, w: jax.vjp(self.operator, u)[1](w)[0])

    @functools.cached_property
    def rough(self) -> Callable[[Any], Any]:
        """`L v`."""
        function, shape = penalty(self.problem.grid, self.order), self.problem.shape
        return jax.jit(lambda v: function(v.reshape(shape)))

    @functools.cached_property
    def rough_adjoint(self) -> Callable[[Any], Any]:
        """`L' w`."""
        at = as_jax(np.zeros(self.unknowns))
        return jax.jit(lambda w: jax.linear_transpose(self.rough, at)(w)[0])

    @property
    def unknowns(self) -> int:
        """Nodes of the field."""
        return int(np.prod(self.problem.shape))

    @property
    def least(self) -> float:
        """`|L v| / |v|` of the longest wave on the grid."""
        longest = max(float(axis[-1] - axis[0]) for axis in self.problem.grid.values())
        return (np.pi / longest) ** self.order if longest > 0 else 1.0

    @functools.cached_property
    def columns(self) -> Callable[[Any], Any]:
        """`J(u) / s` as an array `(M, n)`."""
        few = self.unknowns <= self.problem.measurements.size
        count = self.unknowns if few else self.problem.measurements.size

        def program(u):
            product = self.forward if few else self.adjoint
            rows = _rows(lambda v: product(u, v), count)
            return rows.T if few else rows

        return jax.jit(program)

    @functools.cached_property
    def rough_matrix(self) -> np.ndarray:
        """`L` as an array `(p, n)`."""
        return np.asarray(_rows(self.rough, self.unknowns), float).T


def _rows(product: Callable, count: int) -> Any:
    """What a linear map makes of each unit vector."""
    return jax.lax.map(product, jnp.eye(count, dtype=jnp.zeros(()).dtype), batch_size=128)


class Linearised:
    """The forward operator about a field, over the noise, with its transpose.

    **Arguments:**

    - `products`: compiled programs.
    - `field`: flat, where derivatives are taken.
    """

    def __init__(self, products: Products, field: np.ndarray):
        self.products, self.at, self.calls = products, as_jax(field), 1
        value = np.asarray(products.value(self.at), float)
        # What is left to explain, over the noise.
        self.data = products.problem.measurements.reshape(-1) / products.scale - value
        self.known = products.problem.noise is not None
        self.mean = products.problem.prior_mean.reshape(-1)

    def forward(self, v: Any) -> np.ndarray:
        """`J v / s`."""
        self.calls += 1
        return np.asarray(self.products.forward(self.at, as_jax(v)), float)

    def adjoint(self, w: Any) -> np.ndarray:
        """`J' w / s`."""
        self.calls += 1
        return np.asarray(self.products.adjoint(self.at, as_jax(w)), float)

    def rough(self, v: Any) -> np.ndarray:
        """`L v`."""
        return np.asarray(self.products.rough(as_jax(v)), float)

    def rough_adjoint(self, w: Any) -> np.ndarray:
        """`L' w`."""
        return np.asarray(self.products.rough_adjoint(as_jax(w)), float)

    def strength(self) -> float:
        """The largest eigenvalue of `J'J / s^2`, by the power method."""
        v, size = np.random.default_rng(0).standard_normal(self.products.unknowns), 0.0
        for _ in range(10):
            v = self.adjoint(self.forward(v / max(np.linalg.norm(v), 1e-300)))
            size = float(np.linalg.norm(v))
        return size

    def spectrum(self, data: np.ndarray) -> "Spectrum | None":
        """The operator and the penalty in the coordinates where both are diagonal.

        **Arguments:**

        - `data`: flat, over the noise.
        """
        return spectrum(self.matrix(), self.products.rough_matrix, data, self.products.least)

    def matrix(self) -> np.ndarray:
        """`J / s` as an array `(M, n)`."""
        self.calls += min(self.data.size, self.products.unknowns)
        return np.array(self.products.columns(self.at), float)


def as_jax(x: Any) -> jax.Array:
    """An array in the current precision."""
    return jnp.asarray(np.asarray(x), jnp.zeros(()).dtype)


@dataclasses.dataclass(frozen=True)
class Spectrum:
    """A linear problem in the coordinates `u = X z`, in which `A` and `L` are diagonal.

    **Arguments:**

    - `directions`: `X`, `(n, n)`.
    - `seen`, `rough`: `c` and `s`, `(n,)`.
    - `data`: `U' y`, `(n,)`; 0 for what is not seen.
    - `outside`: `|y|^2` of what no field explains.
    - `count`: of measurements.
    """

    directions: np.ndarray
    seen: np.ndarray
    rough: np.ndarray
    data: np.ndarray
    outside: float
    count: int

    resolution: ClassVar[float] = 1e-10  # of the logarithm of a weight

    def _inverse(self, parameter: Any) -> np.ndarray:
        """`1 / (c^2 + lambda s^2)`, a row for each parameter."""
        parameter = np.asarray(parameter, float)[..., None]
        total = self.seen**2 + parameter * self.rough**2
        return np.where(total > 0, 1 / np.where(total > 0, total, 1.0), 0.0)

    def coordinates(self, parameter: Any) -> Any:
        """`z` of the minimum."""
        return self.seen * self.data * self._inverse(parameter)

    def residual(self, parameter: Any) -> Any:
        """`|A u - y|^2`."""
        gap = self.data * (1 - self.seen**2 * self._inverse(parameter))
        return self.outside + np.sum(gap**2, axis=-1)

    def roughness(self, parameter: Any) -> Any:
        """`|L u|^2`."""
        return np.sum((self.rough * self.coordinates(parameter)) ** 2, axis=-1)

    def effective(self, parameter: Any) -> Any:
        """`tr H`, the number of parameters that the data determine."""
        return np.sum(self.seen**2 * self._inverse(parameter), axis=-1)

    def gcv(self, parameter: Any) -> Any:
        """Generalised cross-validation: `M |A u - y|^2 / (M - tr H)^2`."""
        left = self.count - self.effective(parameter)
        return self.count * self.residual(parameter) / np.maximum(left, 1e-12) ** 2

    def variance(self, parameter: float) -> np.ndarray:
        """The diagonal of the posterior covariance, `(n,)`."""
        return (self.directions**2) @ self._inverse(parameter)

    def parameters(self) -> np.ndarray:
        """Weights worth looking at, increasing: from all of the data to nothing of them."""
        there = self.rough > 1e-8 * np.max(self.rough)
        ratio = self.seen[there] / self.rough[there]
        top = np.max(ratio, initial=0.0) or 1.0
        return np.geomspace(1e-18 * top**2, 1e6 * top**2, _COUNT)


def spectrum(
    matrix: np.ndarray, rough: np.ndarray, data: np.ndarray, least: float = 0.0
) -> Spectrum | None:
    """The generalised singular value decomposition of `A` and `L` by `[A; w L] = Q R`, `w`
    such that both count as much for what is seen best.

    **Arguments:**

    - `matrix`: `A`, `(M, n)`.
    - `rough`: `L`, `(p, n)`.
    - `data`: `(M,)`.
    - `least`: `|L v| / |v|` of the smoothest field that is not smooth altogether.

    **Returns:** `None` where some direction is in the null spaces of both.
    """
    from scipy import linalg

    rows, columns = matrix.shape
    weight = _balance(matrix, rough, least)
    stack = np.concatenate([matrix, weight * rough])
    q, r = np.linalg.qr(stack)
    if len(stack) < columns or _reciprocal_condition(r) < _SINGULAR:
        return None
    u, c, v = np.linalg.svd(q[:rows], full_matrices=rows < columns)
    seen, inner = np.zeros(columns), np.zeros(columns)
    seen[: len(c)] = c
    inner[: len(c)] = (u.T @ data)[: len(c)]
    s = np.linalg.norm(q[rows:] @ v.T, axis=0) / weight
    directions = linalg.solve_triangular(r, v.T, check_finite=False)
    outside = np.sum((data - u[:, : len(c)] @ inner[: len(c)]) ** 2)
    return Spectrum(directions, seen, s, inner, float(outside), rows)


def _balance(matrix: np.ndarray, rough: np.ndarray, least: float) -> float:
    v = np.random.default_rng(0).standard_normal(matrix.shape[1])
    for _ in range(10):
        v = matrix.T @ (matrix @ v)
        v = v / max(np.linalg.norm(v), 1e-300)
    size = float(np.linalg.norm(matrix @ v))
    return (size / max(float(np.linalg.norm(rough @ v)), least, 1e-300)) or 1.0


def _reciprocal_condition(r: np.ndarray) -> float:
    from scipy.linalg import lapack

    found, _ = lapack.dtrcon(r)  # pyright: ignore[reportAttributeAccessIssue]
    return float(found)


def inverse_solution(
    name: str,
    problem: InverseProblem,
    field: np.ndarray,
    deviation: np.ndarray | None,
    result: Result,
    stats: dict[str, float],
) -> Solution:
    """A field on its grid as a solution.

    **Arguments:**

    - `name`: of the method.
    - `problem`: what was solved.
    - `field`, `deviation`: flat, with its standard deviations or `None`.
    - `result`, `stats`: of the solve; what is not finite is left out.
    """

    def on_grid(values):
        return FieldEvaluator(GridField(problem.grid, values.reshape(problem.shape), name))

    return Solution(
        method=name,
        unknowns=(problem.unknown,),
        coordinates=tuple(problem.grid),
        grid=problem.evaluation_grid(),
        evaluator=on_grid(field),
        result=result,
        stats={key: value for key, value in stats.items() if np.isfinite(value)},
        spread=None if deviation is None else on_grid(deviation),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class FieldEvaluator:
    """A field on a grid as a function of points `(n, d)`, NaN outside of the grid.

    **Arguments:**

    - `field`: nodes and values.
    """

    field: GridField

    def __call__(self, points: Any) -> np.ndarray:
        """Values `(n, 1)` at points `(n, d)`."""
        return self.field.at(points)
