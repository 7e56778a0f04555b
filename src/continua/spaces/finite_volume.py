"""Functions by their averages over the cells of a uniform box, and conservation laws there."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.spaces.fourier import check_box
from continua.spaces.reconstruct import AbstractReconstruction, Minmod
from continua.spaces.riemann import AbstractFlux, AbstractLaw, State, admissible

_GAUSS = 5  # nodes an axis of a cell
_CHUNK = 4_000_000  # numbers of one block of stencils
_SHARE = 0.25  # of a cell that each face value stands for where positivity is kept
_BLOCK = 2048  # cells at once on a processor


@dataclasses.dataclass(frozen=True)
class FiniteVolumeSpace:
    """Averages over equal cells.

    **Arguments:**

    - `names`: the coordinates.
    - `lower`, `upper`: the box, one entry a coordinate.
    - `shape`: cells of each axis, five at least.
    - `periodic`: for each axis, whether it is.

    **Raises:** `InputError` for sizes that do not fit each other.

    **Reference:** leveque2002finite
    """

    names: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    shape: tuple[int, ...]
    periodic: tuple[bool, ...]

    def __post_init__(self):
        check_box(self)
        if min(self.shape) < 5:
            raise InputError(
                f"{min(self.shape)} cells on an axis",
                where="FiniteVolumeSpace.shape",
                fix="5 at least",
            )

    def spacing(self, axis: int) -> float:
        """Width of a cell along an axis."""
        return (self.upper[axis] - self.lower[axis]) / self.shape[axis]

    def faces(self, axis: int) -> np.ndarray:
        """Places of the faces across an axis: `(N + 1,)`."""
        return np.linspace(self.lower[axis], self.upper[axis], self.shape[axis] + 1)

    def nodes(self, axis: int) -> np.ndarray:
        """Centres of the cells along an axis: `(N,)`."""
        faces = self.faces(axis)
        return (faces[1:] + faces[:-1]) / 2

    def axes(self) -> dict[str, np.ndarray]:
        """The centres along each axis, one 1-d array a coordinate."""
        return {name: self.nodes(axis) for axis, name in enumerate(self.names)}

    def averages(self, function: Callable[[dict[str, np.ndarray]], np.ndarray]) -> np.ndarray:
        """Averages over the cells by Gauss' rule, exact to degree 9.

        **Arguments:**

        - `function`: nodes along each axis, by name, to values `(s, *n)` on their product.

        **Returns:** `(s, *N)`.
        """
        places, weights = np.polynomial.legendre.leggauss(_GAUSS)
        nodes = {
            name: (self.nodes(a)[:, None] + places * self.spacing(a) / 2).ravel()
            for a, name in enumerate(self.names)
        }
        values = np.asarray(function(nodes), float)
        for axis, size in enumerate(self.shape):
            values = np.moveaxis(values, axis + 1, -1)
            values = values.reshape(*values.shape[:-1], size, _GAUSS) @ (weights / 2)
            values = np.moveaxis(values, -1, axis + 1)
        return values

    def interpolate(self, values: Any, points: Any) -> np.ndarray:
        """Values at any points: quartics around each cell, without new oscillations.

        **Arguments:**

        - `values`: averages `(c, *N)`.
        - `points`: `(m, d)`.

        **Returns:** `(m, c)`.

        **Reference:** levy2000compact
        """
        values, points = np.asarray(values, float), np.asarray(points, float)
        block = max(1, _CHUNK // (len(values) * 5 ** len(self.shape)))
        starts = range(0, max(len(points), 1), block)
        return np.concatenate([self._at(values, points[i : i + block]) for i in starts])

    def _at(self, values: np.ndarray, points: np.ndarray) -> np.ndarray:
        index, local = [], []
        for axis, size in enumerate(self.shape):
            place = (points[:, axis] - self.lower[axis]) / self.spacing(axis)
            place = np.mod(place, size) if self.periodic[axis] else place
            cell = np.clip(np.floor(place).astype(int), 0, size - 1)
            # Next to walls the stencil stays inside, and its cell is not the middle one.
            middle = cell if self.periodic[axis] else np.clip(cell, 2, size - 3)
            index.append(np.mod(middle[:, None] + np.arange(-2, 3), size))
            local.append(place - middle - 0.5)
        if len(index) == 1:
            return central_value(values[:, index[0]], local[0]).T
        rows = values[:, index[0][:, None, :], index[1][:, :, None]]
        one = central_value(central_value(rows, local[0][:, None]), local[1])
        other = central_value(central_value(rows.swapaxes(2, 3), local[1][:, None]), local[0])
        # The weights depend on which axis comes first; their mean does not.
        return ((one + other) / 2).T


def central_value(averages: np.ndarray, place: np.ndarray) -> np.ndarray:
    r"""Central weighted reconstruction: a quartic, where that is smooth, at any place.

        P = w_0 (Q - sum_k d_k P_k) / d_0 + sum_k w_k P_k

    with the quartic `Q` of five averages and the parabolas `P_k` of three.

    **Arguments:**

    - `averages`: `(..., 5)`.
    - `place`: in cells from the centre of the middle one, `(...)`.
    """
    coefficients, quadratic = _polynomials()
    p = np.einsum("kjc,...c->k...j", coefficients, averages)
    beta = np.einsum("k...i,ij,k...j->k...", p, quadratic, p, optimize=True)
    shares = np.array([0.75, 0.0625, 0.125, 0.0625]).reshape(4, *(1,) * (beta.ndim - 1))
    eps = np.finfo(float).eps * np.sum(averages**2, axis=-1) + 1e-30
    tau = np.abs(beta[1] - beta[3])
    alpha = shares * (1 + (tau / (beta + eps)) ** 2)
    weights = alpha / alpha.sum(axis=0)
    central = weights[0] / shares[0]
    mixed = central[..., None] * p[0]
    for k in (1, 2, 3):
        mixed = mixed + (weights[k] - central * shares[k])[..., None] * p[k]
    value = mixed[..., 4]
    for j in (3, 2, 1, 0):
        value = value * place + mixed[..., j]
    return value


@functools.cache
def _polynomials() -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of `Q` and `P_k` from averages `(4, 5, 5)`, and Jiang's and Shu's form."""
    j, cells = np.arange(5), np.arange(-2, 3)[:, None]
    moments = ((cells + 0.5) ** (j + 1) - (cells - 0.5) ** (j + 1)) / (j + 1)
    found = np.zeros((4, 5, 5))
    found[0] = np.linalg.inv(moments)
    for k in range(3):
        found[k + 1, :3, k : k + 3] = np.linalg.inv(moments[k : k + 3, :3])
    form = np.zeros((5, 5))
    for order in range(1, 5):
        slope = np.array([np.prod(np.arange(i - order + 1, i + 1)) for i in j], float)
        power = np.add.outer(j, j) - 2 * order
        even = (np.minimum.outer(j, j) >= order) & (power % 2 == 0)
        whole = np.where(even, power, 0) + 1
        form += np.where(even, np.outer(slope, slope) * 2 * 0.5**whole / whole, 0.0)
    return found, form


@dataclasses.dataclass(frozen=True)
class CellWall:
    """What one state obeys on a wall: a value or a slope.

    **Arguments:**

    - `state`, `axis`, `side`: which, where, 0 for the lower and 1 for the upper wall.
    - `order`: 0 for a value, 1 for a slope along the axis.
    - `value`: a function of time, to a scalar or one number a cell of the wall.
    """

    state: int
    axis: int
    side: int
    order: int
    value: Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class FiniteVolumeScheme:
    """`du/dt = -sum_i (F_{i+1/2} - F_{i-1/2}) / h_i + S` for averages `u` `(s, *N)`.

    In two dimensions one-dimensional reconstructions meet in the middle of the faces:
    of order 2 where the flux is not linear, whatever the reconstruction.

    **Arguments:**

    - `space`: a `FiniteVolumeSpace`.
    - `law`: an `AbstractLaw`.
    - `reconstruction`: an `AbstractReconstruction`; of amplitudes of waves where the law
      has them.
    - `flux`: an `AbstractFlux`.
    - `walls`: a `CellWall` for what is given there; the rest leaves freely.
    - `diffusion`: `(u, slope, axis, where)` to the flux that goes with slopes, or `None`.
    - `source`: `(u, where)` to `S`, or `None`.
    - `time`: its name in `where`.

    **Reference:** shu1998essentially, zhang2010positivity
    """

    space: FiniteVolumeSpace
    law: AbstractLaw
    reconstruction: AbstractReconstruction
    flux: AbstractFlux
    walls: tuple[CellWall, ...] = ()
    diffusion: Callable[..., State] | None = None
    source: Callable[..., State] | None = None
    time: str = "t"

    def __call__(self, t: Any, u: State) -> State:
        """`du/dt`."""
        change = jnp.zeros_like(u)
        for axis in range(len(self.space.shape)):
            rate = self._outflow(t, u, axis)
            change = change - jnp.moveaxis(rate, -1, axis + 1)
        return change if self.source is None else change + self.source(u, self._where(t, u.dtype))

    def rate(self, t: Any, u: State) -> Float[Array, ""]:
        """The largest `sum_i speed_i / h_i`, which times a step is its Courant number."""
        where, total = self._where(t, u.dtype), jnp.zeros((), u.dtype)
        for axis in range(len(self.space.shape)):
            h = self.space.spacing(axis)
            total = total + self.law.speed(u, axis, where) / h
            if self.diffusion is not None:
                total = total + 4 * self._diffusivity(u, axis, where) / h**2
        return jnp.max(total)

    def _diffusivity(self, u, axis, where):
        assert self.diffusion is not None
        bound = jnp.zeros((), u.dtype)
        for k in range(u.shape[0]):
            along = jnp.zeros_like(u).at[k].set(1)
            flux = functools.partial(self.diffusion, u, axis=axis, where=where)
            column = jax.jvp(flux, (jnp.zeros_like(u),), (along,))[1]
            bound = jnp.maximum(bound, jnp.sum(jnp.abs(column), axis=0))
        return bound

    def _outflow(self, t, u, axis: int):
        """`(F_{i+1/2} - F_{i-1/2}) / h` along an axis, which goes last."""
        padded = self._padded(t, u, axis, self._halo)
        where = self._where(t, u.dtype, axis)
        # What a block needs stays in the cache of a processor; other devices take all at once.
        alike = self.law.alike_everywhere and self.diffusion is None
        if alike and jax.default_backend() == "cpu":
            return self._by_blocks(padded, where, axis)
        return self._difference(padded, where, axis)

    def _difference(self, padded, where, axis: int):
        through = self._through(padded, where, axis)
        return (through[..., 1:] - through[..., :-1]) / self.space.spacing(axis)

    def _by_blocks(self, padded, where, axis: int):
        """As `_difference` of lines `(s, ..., n + 2 halo)`, for a law that is alike everywhere."""
        states, *others, size = padded.shape
        size, lines = size - 2 * self._halo, padded.reshape(states, -1, size)
        count = lines.shape[1]
        width = -(-size // -(-size // _BLOCK))
        rows = -(-count // -(-count * width // _BLOCK))
        if (rows, width) == (count, size):
            return self._difference(padded, where, axis)

        def put(found, corner):
            start = (0 * corner[0], *corner)
            block = jax.lax.dynamic_slice(lines, start, (states, rows, width + 2 * self._halo))
            # What goes into a branch is laid out first. Without one every kernel within would
            # slice the lines anew, and take twice as long.
            new = jax.lax.cond(
                jnp.any(block == block),
                lambda block: self._difference(block, where, axis),
                lambda block: jnp.full((states, rows, width), jnp.nan, block.dtype),
                block,
            )
            return jax.lax.dynamic_update_slice(found, new, start), None

        # The last blocks overlap those before, so that all are of one shape.
        first = np.minimum(np.arange(0, count, rows), count - rows)
        second = np.minimum(np.arange(0, size, width), size - width)
        corners = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2)
        empty = jnp.zeros((states, count, size), padded.dtype)
        found, _ = jax.lax.scan(put, empty, jnp.asarray(corners, jnp.int32))
        return found.reshape(states, *others, size)

    @property
    def _halo(self) -> int:
        """Cells beyond both ends of a line; one more where they are kept positive too."""
        return self.reconstruction.reach + bool(self.law.kept_positive)

    def _through(self, padded, where, axis: int):
        """Fluxes `(s, ..., n + 1)` through the faces of cells `(s, ..., n + 2 halo)`."""
        reach = self.reconstruction.reach
        size = padded.shape[-1] - 2 * reach + 1
        cells = [padded[..., k : k + size] for k in range(2 * reach)]
        mean = (cells[reach - 1] + cells[reach]) / 2
        modes = self.law.modes(mean, axis)
        if modes is None:
            left, right = self.reconstruction.faces(cells)
        else:
            waves = [modes.to(q) for q in cells]
            sides = [self.reconstruction.faces(wave) for wave in zip(*waves, strict=True)]
            left, right = (jnp.stack(modes.back(side)) for side in zip(*sides, strict=True))
        if self.law.kept_positive:
            left, right = _kept_positive(self.law, padded[..., reach:-reach], left, right)
            cells = [cell[..., 1:-1] for cell in cells]
        flux = self.flux.between(self.law, left, right, axis, where)
        if self.diffusion is None:
            return flux
        a, b, c, d = cells[reach - 2 : reach + 2]
        value = (7 * (b + c) - a - d) / 12
        slope = (15 * (c - b) - (d - a)) / (12 * self.space.spacing(axis))
        return flux + self.diffusion(value, slope, axis=axis, where=where)

    def _padded(self, t, u, axis: int, reach: int):
        """The averages with `reach` more on both ends of an axis, which goes last."""
        u = jnp.moveaxis(u, axis + 1, -1)
        if self.space.periodic[axis]:
            return jnp.concatenate([u[..., -reach:], u, u[..., :reach]], axis=-1)
        near = max(reach, 3)
        below = self._ghosts(t, u[..., :near], reach, axis, 0)
        above = self._ghosts(t, u[..., : -near - 1 : -1], reach, axis, 1)
        return jnp.concatenate([below[..., ::-1], u, above], axis=-1)

    def _ghosts(self, t, inner, reach: int, axis: int, side: int):
        """Averages beyond a wall from those before it, in order of their distance.

        What no condition is given for goes on along a straight line, limited.
        """
        mirror, steps = inner[..., :reach], np.arange(reach)
        first, second, third = (inner[..., k] for k in range(3))
        slope = Minmod().slope(first - second, second - third)
        ghosts = [*(first[..., None] + slope[..., None] * jnp.asarray(steps + 1, inner.dtype))]
        away = (2 * side - 1) * self.space.spacing(axis) * (2 * steps + 1)
        for wall in self.walls:
            if (wall.axis, wall.side) == (axis, side):
                g = jnp.asarray(wall.value(t), inner.dtype)[..., None]
                row = mirror[wall.state]
                found = 2 * g - row if wall.order == 0 else row + jnp.asarray(away, g.dtype) * g
                ghosts[wall.state] = jnp.broadcast_to(found, row.shape)
        beyond = jnp.stack(ghosts)
        return jnp.where(admissible(self.law, beyond), beyond, mirror)

    def _where(self, t, dtype, axis: int | None = None):
        """Coordinates by name, at the cells, or at the faces across an axis, which goes last."""
        d = len(self.space.shape)
        order = [a for a in range(d) if a != axis] + ([] if axis is None else [axis])
        found = {self.time: t}
        for a, name in enumerate(self.space.names):
            places = self.space.faces(a) if a == axis else self.space.nodes(a)
            widths = [-1 if b == a else 1 for b in order]
            found[name] = jnp.asarray(places.reshape(widths), dtype)
        return found


def _kept_positive(law: AbstractLaw, mean: State, left: State, right: State):
    """Face values drawn towards their averages until what must be positive is.

    **Arguments:**

    - `law`: the conservation law.
    - `mean`: averages `(s, ..., N + 2)`, one more at both ends.
    - `left`, `right`: values on both sides of their `N + 3` faces.

    **Returns:** those of the `N + 1` faces inside.
    """
    rest = _rest(mean, right[..., :-1], left[..., 1:])
    fine = [jnp.all(law.positive(u) > 0) for u in (left, right, rest)]

    def limited(sides):
        lower, upper = sides[1][..., :-1], sides[0][..., 1:]
        kept = law.positive(mean)
        floor = 10 * float(jnp.finfo(mean.dtype).eps) * kept
        for k in range(len(law.kept_positive)):
            states = (lower, upper, _rest(mean, lower, upper))
            worst = functools.reduce(jnp.minimum, [law.positive(q)[k] for q in states])
            # The function is concave: on the way to the average it is at least linear.
            short, one = worst < floor[k], jnp.ones((), mean.dtype)
            theta = (kept[k] - floor[k]) / jnp.where(short, kept[k] - worst, one)
            theta = jnp.where(short, theta, one)
            lower, upper = mean + theta * (lower - mean), mean + theta * (upper - mean)
        return upper[..., :-1], lower[..., 1:]

    def as_they_are(sides):
        return sides[0][..., 1:-1], sides[1][..., 1:-1]

    # Most blocks in most steps need none of it.
    return jax.lax.cond(fine[0] & fine[1] & fine[2], as_they_are, limited, (left, right))


def _rest(mean: State, lower: State, upper: State) -> State:
    """The state that, with a share of each face value, has the average of the cell."""
    return (mean - _SHARE * (lower + upper)) / (1 - 2 * _SHARE)
