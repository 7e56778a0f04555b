r"""Steady diffusion on boxes, many samples at once, as a pure function.

    -div(a grad u) + c u = f,   finite volumes around nodes, harmonic means of a at faces,

by conjugate gradients with a multigrid cycle; gradients by the implicit function theorem.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from continua.core.errors import InputError
from continua.methods.classical.multigrid_cycle import Cycle, Layout, Level, cycle_of, layouts


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Wall:
    """What holds on one wall: `u = value`, or `a du/dn + transfer u = value` outwards.

    **Arguments:**

    - `value`: broadcasts to `(n, *M)`, the nodes of the wall; 0.
    - `transfer`: not negative, as `value`; `None`, the flow `value` alone comes in.
    - `holds`: whether it is `u` that is given, and `transfer` does not matter.
    """

    value: Any = 0.0
    transfer: Any = None
    holds: bool = dataclasses.field(default=True, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DiffusionSolve:
    """Solutions of many samples.

    **Arguments:**

    - `u`: values at the nodes `(n, *N)`.
    - `iterations`: of conjugate gradients `(n,)`.
    - `residual`: `|b - A u|_2 / |b|_2` at the end `(n,)`.
    - `imbalance`: what flows in and does not go out, over all that flows in, `(n,)`; zero
      where the solution is not free up to a constant.
    """

    u: Array
    iterations: Array
    residual: Array
    imbalance: Array


def solve_diffusion(
    a: Float[Array, "_ ..."],
    c: Float[Array, "_ ..."] | None,
    f: Float[Array, "_ ..."],
    lengths: Sequence[float],
    walls: Sequence[tuple[Wall, Wall] | None],
    *,
    mean: Any = None,
    rtol: float = 1e-8,
    max_iterations: int = 100,
) -> DiffusionSolve:
    r"""Solve `-div(a grad u) + c u = f` for every sample.

    One loop serves all samples, each of which stops by itself. It may be jitted, mapped
    and differentiated in `a`, `c`, `f` and the numbers of the walls.

    **Arguments:**

    - `a`: positive, at the nodes `(n, *N)`, one to three axes; walls are nodes, a periodic
      axis leaves its upper end out. Samples that share it give `(1, *N)`.
    - `c`: not negative, as `a`; `None` where there is no such term.
    - `f`: as `a`.
    - `lengths`: of each axis.
    - `walls`: two `Wall` an axis, `None` where it is periodic.
    - `mean`: of `u` over the box `(n,)`, where neither `c` nor a wall fixes it; 0.
    - `rtol`: of the residual, 1e-8.
    - `max_iterations`: 100.

    **Returns:** a `DiffusionSolve`.

    **Raises:** `InputError` for shapes that do not fit and cells that cannot be halved.

    **Reference:** briggs2000multigrid
    """
    shape, periodic = _checked(a, c, f, lengths, walls)
    cells = [n if ring else n - 1 for n, ring in zip(shape, periodic, strict=True)]
    widths = [length / m for length, m in zip(lengths, cells, strict=True)]
    fixed = [(False, False) if w is None else (w[0].holds, w[1].holds) for w in walls]
    plan = layouts(shape, widths, periodic, fixed)
    singular = is_singular(c, walls)
    level, right, given = _assembled(a, c, f, widths, walls, plan[0])
    free = jnp.asarray(plan[0].free(), f.dtype)
    # In the differences that enter, given values meet free nodes, so that A is symmetric.
    b = free * (right - level(given))
    imbalance = jnp.zeros(b.shape[0], b.dtype)
    if singular:
        size = jnp.sum(jnp.abs(b), axis=_axes(b))
        imbalance = jnp.sum(b, axis=_axes(b)) / jnp.where(size > 0, size, jnp.ones_like(size))
        b = _centred(b)

    def matvec(v):
        return free * level(free * v) + (1 - free) * v

    def solve(_, b):
        cycle = cycle_of(level, plan, singular)
        return _conjugate_gradients(level, free, cycle, b, singular, rtol, max_iterations)

    v, (iterations, residual) = jax.lax.custom_linear_solve(
        matvec, b, solve, symmetric=True, has_aux=True
    )
    u = given + free * v
    if singular:
        volumes = jnp.asarray(_volumes(plan[0], widths) / math.prod(lengths), u.dtype)
        wanted = jnp.zeros((), u.dtype) if mean is None else jnp.asarray(mean, u.dtype)
        shift = wanted - jnp.sum(volumes * u, axis=_axes(u))
        u = u + shift.reshape(-1, *(1,) * len(shape))
    return DiffusionSolve(u, iterations, residual, imbalance)


def is_singular(c: Any, walls: Sequence[tuple[Wall, Wall] | None]) -> bool:
    """Whether a constant may be added to the solution: nothing takes hold of `u` itself.

    **Arguments:**

    - `c`, `walls`: as `solve_diffusion`.
    """
    sides = [wall for pair in walls if pair is not None for wall in pair]
    return c is None and not any(w.holds or w.transfer is not None for w in sides)


def outflows(
    a: Float[Array, "n *N"], u: Float[Array, "n *N"], lengths: Sequence[float], axis: int
) -> Float[Array, "..."]:
    """What flows through the faces across an axis between walls, `-a du/dx |face|`.

    **Arguments:**

    - `a`, `u`, `lengths`: as `solve_diffusion`.
    - `axis`: which one.

    **Returns:** `(n, ..., N - 1, ...)`; faces at walls along have half their width.
    """
    shape = tuple(u.shape[1:])
    plan = Layout(shape, (False,) * len(shape), ((False, False),) * len(shape), ())
    widths = [length / (n - 1) for length, n in zip(lengths, shape, strict=True)]
    return -_conductances(a, widths, plan, axis) * jnp.diff(u, axis=axis + 1)


def _checked(a, c, f, lengths, walls) -> tuple[tuple[int, ...], tuple[bool, ...]]:
    shape = tuple(a.shape[1:])
    if not 1 <= len(shape) <= 3 or len(lengths) != len(shape) or len(walls) != len(shape):
        raise InputError(
            f"a has {len(shape)} axes for {len(lengths)} lengths and {len(walls)} pairs of walls",
            where="solve_diffusion",
            fix="give the samples first, then one to three axes, each with a length and walls",
        )
    for name, array in (("c", c), ("f", f)):
        if array is None:
            continue
        counts = {array.shape[0], a.shape[0]} - {1}
        if tuple(array.shape[1:]) != shape or len(counts) > 1:
            raise InputError(
                f"{name} has the shape {array.shape} and a {a.shape}",
                where="solve_diffusion",
                fix="give the same nodes, and as many samples or 1",
            )
    return shape, tuple(pair is None for pair in walls)


def _assembled(a, c, f, widths, walls, layout: Layout) -> tuple[Level, Array, Array]:
    """The operator, its right side, and the given values with zeros elsewhere."""
    volumes = jnp.asarray(_volumes(layout, widths), f.dtype)
    right = f * volumes
    diagonal = jnp.zeros_like(a) if c is None else c * volumes + jnp.zeros_like(a)
    # Samples whose walls differ have right sides, and maybe operators, of their own.
    numbers = [w.transfer for pair in walls if pair is not None for w in pair]
    wide = max([diagonal.shape[0], *map(_samples, numbers)])
    diagonal = jnp.broadcast_to(diagonal, (wide, *layout.shape))
    values = [w.value for pair in walls if pair is not None for w in pair]
    count = max([wide, right.shape[0], *map(_samples, values)])
    right = jnp.broadcast_to(right, (count, *layout.shape))
    given = jnp.zeros_like(right)
    for axis, pair in enumerate(walls):
        if pair is None:
            continue
        areas = jnp.asarray(_areas(layout, widths, axis), f.dtype)
        for wall, end in zip(pair, (0, -1), strict=True):
            at = (slice(None),) * (axis + 1) + (end,)
            value = jnp.asarray(wall.value, f.dtype)
            if wall.holds:
                given = given.at[at].set(jnp.broadcast_to(value, given[at].shape))
                continue
            right = right.at[at].add(value * areas)
            if wall.transfer is not None:
                transfer = jnp.asarray(wall.transfer, f.dtype)
                diagonal = diagonal.at[at].add(transfer * areas)
    faces = tuple(_conductances(a, widths, layout, axis) for axis in range(len(widths)))
    return Level(faces, diagonal, layout), right, given


def _samples(value: Any) -> int:
    """How many samples a number of a wall is given for."""
    shape = np.shape(value) if value is not None else ()
    return shape[0] if len(shape) > 0 else 1


def _conductances(a, widths, layout: Layout, axis: int):
    """`|face| / h` times the harmonic mean of `a` on both sides."""
    at = axis + 1
    if layout.periodic[axis]:
        low, high = a, jnp.roll(a, -1, at)
    else:
        low, high = (jax.lax.slice_in_dim(a, i, a.shape[at] - 1 + i, axis=at) for i in (0, 1))
    areas = np.expand_dims(_areas(layout, widths, axis), axis)
    return jnp.asarray(areas / widths[axis], a.dtype) * (2 * low * high / (low + high))


def _shares(layout: Layout, widths, axis: int) -> np.ndarray:
    """Widths of the volumes along one axis, halves at walls."""
    found = np.full(layout.shape[axis], widths[axis])
    if not layout.periodic[axis]:
        found[[0, -1]] /= 2
    return found


def _volumes(layout: Layout, widths) -> np.ndarray:
    total = np.ones(())
    for axis in range(len(widths)):
        total = np.multiply.outer(total, _shares(layout, widths, axis))
    return total


def _areas(layout: Layout, widths, axis: int) -> np.ndarray:
    """Faces across an axis at the nodes of the other axes."""
    total = np.ones(())
    for other in range(len(widths)):
        if other != axis:
            total = np.multiply.outer(total, _shares(layout, widths, other))
    return total


def _axes(u) -> tuple[int, ...]:
    return tuple(range(1, u.ndim))


def _centred(u):
    return u - jnp.mean(u, axis=_axes(u), keepdims=True)


def _conjugate_gradients(
    level: Level, free, cycle: Cycle, b, singular: bool, rtol: float, most: int
):
    """All samples in one loop; each stays as it is from its last iteration on.

    **Returns:** the solution, and iterations and relative residuals `(n,)`.
    """
    axes = _axes(b)
    tolerance = jnp.asarray(rtol, b.dtype)

    def inner(p, q):
        return jnp.sum(p * q, axis=axes)

    def wide(s):
        return s.reshape(-1, *(1,) * len(axes))

    def precondition(r):
        z = cycle(r)
        return _centred(z) if singular else z

    size = jnp.sqrt(inner(b, b))
    start = {
        "v": jnp.zeros_like(b), "r": b, "p": jnp.zeros_like(b), "rz": jnp.ones_like(size),
        "norm": size, "count": jnp.zeros(b.shape[:1], jnp.int32), "turn": jnp.asarray(0),
    }  # fmt: skip

    def going(s):
        return s["norm"] > tolerance * size

    def proceed(s):
        return jnp.any(going(s)) & (s["turn"] < most)

    def step(s):
        active = going(s)
        z = precondition(s["r"])
        rz = inner(s["r"], z)
        # The first direction is z itself, as the one before is zero.
        p = z + wide(jnp.where(active, rz / s["rz"], 0)) * s["p"]
        image = free * level(p)
        bend = inner(p, image)
        length = jnp.where(active & (bend > 0), rz / jnp.where(bend > 0, bend, 1), 0)
        r = s["r"] - wide(length) * image
        r = _centred(r) if singular else r
        return {
            "v": s["v"] + wide(length) * p, "r": r, "p": p, "rz": jnp.where(active, rz, s["rz"]),
            "norm": jnp.sqrt(inner(r, r)), "count": s["count"] + active.astype(jnp.int32),
            "turn": s["turn"] + 1,
        }  # fmt: skip

    s = jax.lax.while_loop(proceed, step, start)
    left = b - free * level(s["v"])
    left = _centred(left) if singular else left
    residual = jnp.sqrt(inner(left, left)) / jnp.where(size > 0, size, jnp.ones_like(size))
    return s["v"], (s["count"], residual)
