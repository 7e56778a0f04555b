r"""The problem of a cause behind a measurement.

    y = A(u) + e,   e_i ~ N(0, s^2) independent,

`A` a forward operator, `u` a field on a grid. What is known of `u` before anything is
measured is its mean, and how smooth it is: the second is for the method to say.
"""

import abc
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.core.errors import InputError
from continua.problems.conditions import as_number
from continua.problems.problem import AbstractProblem
from continua.problems.reference import AbstractReference, points_of
from continua.problems.values import AbstractValue, digest_of

_REACH = 12.0  # widths after which a Gaussian is 0 in double precision


class AbstractOperator(AbstractValue, abc.ABC):
    """What a measurement does to a field: a value that a grid makes a function."""

    @abc.abstractmethod
    def on(self, grid: Mapping[str, np.ndarray]) -> Callable[[Any], Any]:
        """The operator as a JAX function of fields `(*N)`.

        **Arguments:**

        - `grid`: nodes of each axis, 1-d arrays by name.

        **Raises:** `InputError` for a grid that it cannot work on.
        """


@dataclasses.dataclass(frozen=True, eq=False)
class Matrix(AbstractOperator):
    """`y = A u` with the entries of a matrix; fields count in the order of C.

    **Arguments:**

    - `entries`: `(m, n)`.
    """

    entries: np.ndarray

    def on(self, grid: Mapping[str, np.ndarray]) -> Callable[[Any], Any]:
        _check_columns(self.entries.shape, grid)
        return lambda u: jnp.asarray(self.entries, u.dtype) @ u.reshape(-1)


@dataclasses.dataclass(frozen=True, eq=False)
class SparseMatrix(AbstractOperator):
    """`y = A u` with few entries that are not 0.

    **Arguments:**

    - `values`, `rows`, `columns`: of each entry, `(k,)`.
    - `shape`: `(m, n)`.
    """

    values: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    shape: tuple[int, int]

    def on(self, grid: Mapping[str, np.ndarray]) -> Callable[[Any], Any]:
        _check_columns(self.shape, grid)

        def apply(u):
            terms = jnp.asarray(self.values, u.dtype) * u.reshape(-1)[self.columns]
            return jax.ops.segment_sum(terms, jnp.asarray(self.rows), self.shape[0])

        return apply


@dataclasses.dataclass(frozen=True, eq=False)
class Function(AbstractOperator):
    """A JAX function of the field.

    **Arguments:**

    - `function`: `(*N)` to measurements of any shape.
    - `content`: a digest of its code and of what it encloses, by which it is compared.
    """

    function: Callable[[Any], Any]
    content: str = ""

    def __post_init__(self):
        object.__setattr__(self, "content", self.content or _content(self.function))

    def on(self, grid: Mapping[str, np.ndarray]) -> Callable[[Any], Any]:
        return self.function


@dataclasses.dataclass(frozen=True, eq=False)
class Blur(AbstractOperator):
    """Convolution with a Gaussian along every axis, on the field's own nodes.

    `y_i = sum_j w_ij u_j / sum_j w_ij`, `w_ij = h_j exp(-(x_i - x_j)^2 / (2 width^2))`, `h_j`
    the trapezium rule's weights: constants are kept, at the ends too.

    **Arguments:**

    - `width`: standard deviation of the Gaussian in units of the axes.

    **Raises:** `InputError` for a width that is not positive.
    """

    width: float

    def __post_init__(self):
        object.__setattr__(self, "width", _positive(self.width, "Blur.width"))

    def on(self, grid: Mapping[str, np.ndarray]) -> Callable[[Any], Any]:
        kernels = [self._kernel(np.asarray(axis, float)) for axis in grid.values()]

        def apply(u):
            for number, kernel in enumerate(kernels):
                along = jnp.tensordot(jnp.asarray(kernel, u.dtype), u, axes=(1, number))
                u = jnp.moveaxis(along, 0, number)
            return u

        return apply

    def _kernel(self, x: np.ndarray) -> np.ndarray:
        if len(x) == 1:
            return np.ones((1, 1))
        away = (x[:, None] - x[None, :]) / self.width
        weights = np.exp(-0.5 * np.minimum(np.abs(away), _REACH) ** 2) * np.gradient(x)
        weights[:, [0, -1]] /= 2
        return weights / weights.sum(axis=1, keepdims=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Subsample(AbstractOperator):
    """Every `every`-th node of each axis, the first included.

    **Arguments:**

    - `every`: 1 or more.

    **Raises:** `InputError` for less.
    """

    every: int

    def __post_init__(self):
        if not (isinstance(self.every, int) and self.every >= 1):
            raise InputError(f"got {self.every!r}", where="Subsample.every", fix="give 1 or more")

    def on(self, grid: Mapping[str, np.ndarray]) -> Callable[[Any], Any]:
        return lambda u: u[(slice(None, None, self.every),) * u.ndim]


@dataclasses.dataclass(frozen=True, eq=False)
class Radon(AbstractOperator):
    """Integrals along parallel lines, as in tomography: `(angles, detectors)`.

    `y(a, r) = int u(c + r n_a + q t_a) dq`, `n_a = (cos a, sin a)`, `t_a = (-sin a, cos a)`, `c`
    the middle of the grid; `u` linear between its nodes and 0 outside of them.

    **Arguments:**

    - `angles`: in degrees, one or many.
    - `detectors`: lines an angle, evenly over the longer side; `None` takes as many as it
      has nodes.

    **Raises:** `InputError` where there is no angle, and on a grid that is not even and
    two-dimensional.
    """

    angles: Any
    detectors: int | None = None

    def __post_init__(self):
        angles = tuple(float(a) for a in np.ravel(np.asarray(self.angles, float)))
        if not angles or not all(map(math.isfinite, angles)):
            raise InputError("no angles", where="Radon.angles", fix="give degrees, (0, 45, 90)")
        object.__setattr__(self, "angles", angles)

    def on(self, grid: Mapping[str, np.ndarray]) -> Callable[[Any], Any]:
        axes = [np.asarray(axis, float) for axis in grid.values()]
        if len(axes) != 2 or any(len(a) < 2 or not _even(a) for a in axes):
            raise InputError(
                f"got axes of {', '.join(str(len(a)) for a in axes)} nodes",
                where="Radon",
                fix="give two axes of evenly spaced nodes",
            )
        first, step = (np.array([f(a) for a in axes]) for f in (lambda a: a[0], _spacing))
        middle = np.array([(a[0] + a[-1]) / 2 for a in axes])
        length, reach = max(a[-1] - a[0] for a in axes), np.hypot(*(a[-1] - a[0] for a in axes)) / 2
        r = np.linspace(-length / 2, length / 2, self.detectors or max(map(len, axes)))
        q = np.linspace(-reach, reach, 2 * int(np.ceil(reach / step.min())) + 1)
        angle = np.radians(np.array(self.angles))[:, None, None]
        normal, tangent = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
        points = [
            (middle[k] + r[:, None] * normal[k] + q * tangent[k] - first[k]) / step[k]
            for k in range(2)
        ]

        def apply(u):
            where = [jnp.asarray(p, u.dtype) for p in points]
            found = jax.scipy.ndimage.map_coordinates(u, where, order=1, mode="constant")
            return jnp.sum(found, axis=-1) * jnp.asarray(q[1] - q[0], u.dtype)

        return apply


@dataclasses.dataclass(frozen=True, eq=False)
class GridField(AbstractReference):
    """A field on the nodes of a grid, linear in between.

    **Arguments:**

    - `axes`: increasing nodes of each coordinate by name.
    - `samples`: `(*N)`.
    - `source`: where it is from.
    """

    axes: Mapping[str, np.ndarray]
    samples: np.ndarray
    source: str = "given with the problem"

    @property
    def error(self) -> float:
        return 0.0

    @property
    def evidence(self) -> str:
        return self.source

    def values(self, *coordinates: Any) -> np.ndarray:
        arrays = points_of(tuple(self.axes), coordinates)
        flat = self.at(np.stack([a.reshape(-1) for a in arrays], axis=-1))
        return np.moveaxis(flat, -1, 0).reshape(1, *arrays[0].shape)

    def adapted(self, problem: Any) -> "GridField":
        return self

    def at(self, points: Any) -> np.ndarray:
        """Values `(n, 1)` at points `(n, d)`, NaN outside of the grid."""
        points, found = np.asarray(points, float), np.asarray(self.samples, float)[None]
        rows, inside = np.zeros(len(points), int), np.ones(len(points), bool)
        for axis, x in zip(self.axes.values(), points.T, strict=True):
            slack = 1e-12 * max(abs(axis[0]), abs(axis[-1]))
            inside &= (x >= axis[0] - slack) & (x <= axis[-1] + slack)
            i = np.clip(np.searchsorted(axis, x, side="right") - 1, 0, max(len(axis) - 2, 0))
            if len(axis) == 1:
                found = found[rows, i]
            else:
                s = (np.clip(x, axis[0], axis[-1]) - axis[i]) / (axis[i + 1] - axis[i])
                s = s.reshape(-1, *[1] * (found.ndim - 2))
                found = (1 - s) * found[rows, i] + s * found[rows, i + 1]
            rows = np.arange(len(points))
        return np.where(inside, found, np.nan)[:, None]


@dataclasses.dataclass(frozen=True, eq=False)
class InverseProblem(AbstractProblem):
    """Measurements of a field that went through a forward operator.

    **Arguments:**

    - `name`, `title`: a short name and a line for people.
    - `forward`: a matrix `(m, n)`, dense or of `scipy.sparse`; a value such as `Blur(0.1)`;
      or a JAX function of the field `(*N)`.
    - `measurements`: an array of the shape that `forward` gives.
    - `grid`: nodes of the unknown field, an increasing 1-d array a coordinate.
    - `noise`: standard deviation of each measurement, or `None` where it is not known.
    - `prior_mean`: of the field, a number or `(*N)`; 0.
    - `truth`: the field behind the measurements where it is known, `(*N)`; it judges
      answers and no method sees it.
    - `unknown`: the name of the field, `"u"`.
    - `citation`: a key of `core/refs.bib`; `notes`: what is hard about it.

    **Raises:** `InputError`, in one line with place and fix, where shapes disagree and
    numbers are not finite.
    """

    name: str
    title: str
    forward: Any
    measurements: np.ndarray
    grid: Mapping[str, np.ndarray]
    noise: float | None = None
    prior_mean: Any = 0.0
    truth: Any = None
    unknown: str = "u"
    citation: str = ""
    notes: str = ""

    kind: ClassVar[str] = "inverse"
    silent: ClassVar[tuple[str, ...]] = ("truth",)

    def __post_init__(self):
        object.__setattr__(self, "grid", _checked_grid(self.grid))
        object.__setattr__(self, "forward", _as_operator(self.forward))
        object.__setattr__(self, "measurements", _finite(self.measurements, "measurements"))
        if self.noise is not None:
            object.__setattr__(self, "noise", _positive(self.noise, "noise"))
        for name in ("prior_mean", "truth"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _on_grid(value, self.shape, name))
        _check_forward(self)

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes along each axis."""
        return tuple(len(axis) for axis in self.grid.values())

    @property
    def reference(self) -> GridField | None:
        """The truth as what answers are judged by."""
        return None if self.truth is None else GridField(self.grid, self.truth)

    def evaluation_grid(self) -> dict[str, np.ndarray]:
        """The nodes of the unknown field."""
        return dict(self.grid)

    def operator(self) -> Callable[[Any], Any]:
        """The forward operator as a JAX function of the field `(*N)`."""
        return self.forward.on(self.grid)

    def predicted(self, field: Any) -> np.ndarray:
        """What would be measured without noise.

        **Arguments:**

        - `field`: `(*N)`.
        """
        dtype = jnp.zeros(()).dtype
        return np.asarray(self.operator()(jnp.asarray(np.asarray(field), dtype)), float)

    @functools.cached_property
    def linear(self) -> bool:
        """Whether the forward operator is linear, up to a constant: of a function, as three
        random fields tell."""
        if not isinstance(self.forward, Function):
            return True
        rng = np.random.default_rng(0)
        a, b = (self.prior_mean + rng.standard_normal(self.shape) for _ in range(2))
        base, first, second, both = (
            self.predicted(u) for u in (self.prior_mean, a, b, a + 2.5 * (b - self.prior_mean))
        )
        gap = np.max(np.abs(both - first - 2.5 * (second - base)))
        size = np.max(np.abs(first - base)) + np.max(np.abs(second - base))
        return bool(gap <= float(jnp.finfo(jnp.zeros(()).dtype).eps) ** 0.6 * size)


def _checked_grid(grid: Mapping[str, Any]) -> dict[str, np.ndarray]:
    if not isinstance(grid, Mapping) or not grid:
        raise InputError("no axes", where="grid", fix='write grid={"x": numpy.linspace(0, 1, 64)}')
    found = {name: np.array(axis, float) for name, axis in grid.items()}
    for name, axis in found.items():
        if axis.ndim != 1 or not len(axis):
            raise InputError(f"nodes of shape {axis.shape}, expected (N,)", where=f"grid.{name}")
        if not (np.all(np.isfinite(axis)) and np.all(np.diff(axis) > 0)):
            raise InputError("nodes must be finite and increase", where=f"grid.{name}")
    return found


def _as_operator(forward: Any) -> AbstractOperator:
    if isinstance(forward, AbstractOperator):
        return forward
    if hasattr(forward, "tocoo"):
        coo = forward.tocoo()
        values = _finite(coo.data, "forward")
        return SparseMatrix(values, np.array(coo.row), np.array(coo.col), tuple(coo.shape))
    if callable(forward):
        return Function(forward)
    entries = _finite(forward, "forward")
    if entries.ndim != 2:
        raise InputError(
            f"an array of shape {entries.shape}, expected (m, n)",
            where="forward",
            fix="give a matrix, an operator such as Blur(0.1), or a JAX function",
        )
    return Matrix(entries)


def _finite(value: Any, where: str) -> np.ndarray:
    try:
        array = np.array(value, float)
    except (TypeError, ValueError) as error:
        raise InputError(f"got {type(value).__name__}, expected numbers", where=where) from error
    if not array.size or not np.all(np.isfinite(array)):
        raise InputError(
            "numbers must be finite, one at least",
            where=where,
            fix="leave out what was not measured, in the forward operator too",
        )
    return array


def _on_grid(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    array = _finite(value, where)
    if array.ndim and array.shape != shape:
        raise InputError(f"shape {array.shape} does not fit the grid {shape}", where=where)
    return np.broadcast_to(array, shape).copy()


def _positive(value: Any, where: str) -> float:
    number = as_number(value, where)
    if not number > 0:
        raise InputError(f"got {number:g}", where=where, fix="give a positive number")
    return number


def _check_forward(problem: InverseProblem) -> None:
    dtype = jnp.zeros(()).dtype
    operator = problem.operator()
    try:
        found = jax.eval_shape(operator, jax.ShapeDtypeStruct(problem.shape, dtype))
        shape = tuple(found.shape)
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(
            f"cannot be traced on a field of shape {problem.shape} ({error})".replace("\n", " "),
            where="forward",
            fix="write it in jax.numpy, as a function of one array that gives one array",
        ) from error
    if shape != problem.measurements.shape:
        raise InputError(
            f"gives shape {shape}, and the measurements have {problem.measurements.shape}",
            where="forward",
            fix="give measurements in the shape that the operator gives",
        )


def _check_columns(shape: tuple[int, ...], grid: Mapping[str, np.ndarray]) -> None:
    count = math.prod(len(axis) for axis in grid.values())
    if shape[1] != count:
        raise InputError(
            f"a matrix of {shape[1]} columns for a grid of {count} nodes",
            where="forward",
            fix="give a column for each node, in the order of C",
        )


def _spacing(axis: np.ndarray) -> float:
    return float((axis[-1] - axis[0]) / (len(axis) - 1))


def _even(axis: np.ndarray) -> bool:
    return bool(np.allclose(np.diff(axis), _spacing(axis), rtol=1e-6, atol=0.0))


def _content(function: Any) -> str:
    """A digest of what a function computes, as far as that can be seen."""
    if dataclasses.is_dataclass(function):
        return digest_of(function)
    code = getattr(function, "__code__", None)
    if code is None:
        return digest_of(repr(function))
    enclosed = [_cell(c) for c in function.__closure__ or ()]
    return digest_of([_bytecode(code), enclosed, list(function.__defaults__ or ())])


def _cell(cell: Any) -> str:
    try:
        value = cell.cell_contents
        return _content(value) if hasattr(value, "__code__") else digest_of(value)
    except (AttributeError, ValueError):  # of another library, or not there yet
        return repr(cell)


def _bytecode(code: Any) -> list[Any]:
    inner = [_bytecode(c) if hasattr(c, "co_code") else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), list(code.co_names), inner]
