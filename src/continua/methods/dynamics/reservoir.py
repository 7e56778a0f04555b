r"""A reservoir: a random recurrent network of which only the readout is fitted.

    r' = (1 - l) r + l tanh(W r + V x + b),   x' = U f(r'),

`W` random and sparse, scaled to a spectral radius, `V` and `b` random, `f(r)` the constant 1
and the units, every second one squared. `U` is a ridge regression of the next row on `f`.
Forecasts feed `x'` back. What is not given (radius, size of `V`, `l`, ridge) is chosen by free
runs over the last fifth of the training rows.
"""

import dataclasses
import itertools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from continua.core.errors import InputError
from continua.core.solution import Solution
from continua.methods.base import AbstractDirectMethod, Prepared, Support, asked
from continua.methods.dynamics.even import even_series, evenly_spaced, without_gaps
from continua.methods.dynamics.iterates import AbstractMap, iterates_of, with_deviation
from continua.methods.dynamics.observations import Scaling, scaling_of

_DEGREE = 6  # units that a unit hears
_SHORTEST = 30
_RADII, _INPUTS, _LEAKS = (0.4, 0.9, 1.2), (0.1, 0.5), (0.3, 1.0)
_RIDGES = (1e-2, 1e-4, 1e-6, 1e-8, 1e-10)
_TRIALS = 20  # free runs that a choice is judged by


class ReservoirMap(AbstractMap):
    """Reservoirs with their readouts, a leading axis of members on arrays.

    **Arguments:**

    - `heard`: which units each unit hears, `(k, m, d)`; `inner`: their weights in `W`.
    - `outer`: `V` `(k, m, C)`; `shift`: `b` `(k, m)`.
    - `readout`: `U` `(k, C, 1 + m)`.
    - `leak`: `l`.
    - `scaling`, `states`, `interval`: of the measured rows.
    """

    heard: Int[Array, "*k m d"]
    inner: Float[Array, "*k m d"]
    outer: Float[Array, "*k m C"]
    shift: Float[Array, "*k m"]
    readout: Float[Array, "*k C f"]
    leak: Any
    scaling: Scaling
    states: tuple[str, ...]
    interval: float

    @property
    def memory(self) -> int:
        return 1

    def advance(self, r: Float[Array, " m"], x: Float[Array, " C"]) -> Float[Array, " m"]:
        """The units after a row, for one member."""
        return _advanced((self.heard, self.inner, self.outer, self.shift), self.leak, r, x)

    def told(self, r: Float[Array, " m"]) -> Float[Array, " C"]:
        """The row that units tell."""
        return self.readout @ features(r)

    def read(self, x, there, rows):
        def one(member):
            def step(carry, row):
                r, told = carry
                value, known = row
                r = member.advance(r, jnp.where(known, value, told))
                told = member.told(r)
                return (r, told), (told, r)

            start = (jnp.zeros_like(member.shift), x[0])
            _, (told, units) = jax.lax.scan(step, start, (x, jnp.asarray(there)))
            return jnp.concatenate([x[:1], told[:-1]]), units[rows]

        arrays, rest = eqx.partition(self, eqx.is_array)
        return jax.lax.map(lambda a: one(eqx.combine(a, rest)), arrays)

    def run(self, states, steps: int):
        def many(member, states):
            return jax.vmap(lambda state: member.free(state, steps))(states)

        return eqx.filter_vmap(many, in_axes=(eqx.if_array(0), 0))(self, states)

    def free(self, r: Float[Array, " m"], steps: int) -> Float[Array, "t C"]:
        """The rows that follow, for one member."""

        def step(r, _):
            x = self.told(r)
            return self.advance(r, x), x

        return jax.lax.scan(step, r, None, steps)[1]

    def step(self, r: Float[Array, " m"]) -> Float[Array, " m"]:
        """One free step of the first member's units."""
        arrays, rest = eqx.partition(self, eqx.is_array)
        member = eqx.combine(jax.tree.map(lambda a: a[0], arrays), rest)
        return member.advance(r, member.told(r))


def _advanced(arrays, leak, r, x):
    heard, inner, outer, shift = arrays
    fresh = jnp.tanh(jnp.sum(inner * r[heard], axis=-1) + outer @ x + shift)
    return (1 - leak) * r + leak * fresh


def features(r: Float[Array, "*n m"]) -> Float[Array, "*n f"]:
    """1 and the units, every second one squared: products that a tangent alone has not."""
    even = jnp.arange(r.shape[-1]) % 2 == 0
    return jnp.concatenate([jnp.ones_like(r[..., :1]), jnp.where(even, r, r**2)], axis=-1)


@dataclasses.dataclass(frozen=True)
class Reservoir(AbstractDirectMethod):
    """An echo state network with a ridge readout.

    **Arguments:**

    - `size`: units, 300.
    - `radius`: spectral radius of `W`; `None` tries 0.4, 0.9 and 1.2.
    - `input_scale`: largest entry of `V` and `b`; `None` tries 0.1 and 0.5.
    - `leak`: `l`, from 0 to 1; `None` tries 0.3 and 1.
    - `ridge`: as a share of the mean square of the features; `None` tries 1e-2, 1e-4,
      ... 1e-10.
    - `members`: reservoirs from different draws, 5; they give the spread.
    - `positive`: forecast logarithms; `None` decides by the data.

    **Raises:** `InputError` for numbers out of range.

    **Reference:** jaeger2004harnessing, pathak2018model
    """

    size: int = 300
    radius: float | None = None
    input_scale: float | None = None
    leak: float | None = None
    ridge: float | None = None
    members: int = 5
    positive: bool | None = None

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "jaeger2004harnessing"

    def __post_init__(self):
        if self.size < 2 or self.members < 1:
            raise InputError(
                f"{self.size} units, {self.members} members",
                where="Reservoir",
                fix="give 2 units or more, and 1 member or more",
            )
        if self.leak is not None and not 0 < self.leak <= 1:
            raise InputError(f"got {self.leak:g}", where="Reservoir.leak", fix="give 0 to 1")

    def supports(self, problem) -> Support:
        if not (known := asked(problem, self.name, ("forecast",))).ok:
            return known
        if problem.equation is not None:
            return Support(False, f"{self.name} uses no equation, NeuralODE does")
        return evenly_spaced(problem, self.name, _SHORTEST, "NeuralODE")

    def ladder(self, problem) -> tuple["Reservoir", ...]:
        return tuple(dataclasses.replace(self, size=n) for n in (100, 300, 1000))

    def prepare(self, problem, *, key) -> Prepared:
        seed = int(jax.random.randint(key, (), 0, 2**31 - 1))
        states = tuple(problem.variables)
        scaling = scaling_of(problem, states, self.positive)
        rows = even_series(problem)
        interval = float(rows[0][0][-1] - rows[0][0][0]) / (len(rows[0][0]) - 1)

        def program(rows) -> ReservoirMap:
            scaled = [scaling.encode(y) for _, y in rows]
            choice = self._chosen(scaled, seed)
            made = [self._fitted(scaled, choice, seed + i) for i in range(self.members)]
            arrays = tuple(jnp.stack(parts) for parts in zip(*made, strict=True))
            return _map(arrays, choice[2], scaling, states, interval)

        def finish(model: ReservoirMap) -> Solution:
            evaluator = iterates_of(model, problem)
            grid = problem.evaluation_grid()
            return Solution(
                method=self.name,
                unknowns=states,
                coordinates=tuple(grid),
                grid=grid,
                evaluator=evaluator,
                spread=with_deviation(evaluator),
                stats={"terms": float(model.readout.size), "leak": model.leak},
            )

        return Prepared(program, rows, finish, traced=False)

    def _choices(self) -> list[tuple[float, float, float]]:
        grids = ((self.radius, _RADII), (self.input_scale, _INPUTS), (self.leak, _LEAKS))
        radii, inputs, leaks = (g if v is None else (v,) for v, g in grids)
        return list(itertools.product(radii, inputs, leaks))

    def _chosen(self, scaled, seed: int) -> tuple[float, float, float, float]:
        """Radius, size of inputs, leak and ridge of the best free runs."""
        ridges = _RIDGES if self.ridge is None else (self.ridge,)
        choices = self._choices()
        if len(choices) * len(ridges) == 1:
            return (*choices[0], ridges[0])
        known = [len(z) - len(z) // 5 for z in scaled]
        best, least = (*choices[0], ridges[0]), np.inf
        drawn = self._drawn(seed, scaled[0].shape[1])
        for choice in choices:
            arrays = _scaled(drawn, *choice[:2])
            units = [_units(arrays, choice[2], z) for z in scaled]
            seen = [(u[:k], z[:k]) for u, z, k in zip(units, scaled, known, strict=True)]
            readouts = _readouts(seen, ridges)
            errors = _free_errors(arrays, choice[2], readouts, units, scaled, known)
            if errors.min() < least:
                best, least = (*choice, ridges[int(errors.argmin())]), float(errors.min())
        return best

    def _fitted(self, scaled, choice, seed: int) -> tuple[Any, ...]:
        """One reservoir and its readout from all rows."""
        arrays = _scaled(self._drawn(seed, scaled[0].shape[1]), *choice[:2])
        seen = [(_units(arrays, choice[2], z), z) for z in scaled]
        return (*arrays, _readouts(seen, choice[3:])[0])

    def _drawn(self, seed: int, channels: int) -> tuple[np.ndarray, ...]:
        """Links, `W`, `V` and `b` of one reservoir, of radius and size 1."""
        rng = np.random.default_rng(seed)
        shape = (self.size, min(_DEGREE, self.size))
        heard = rng.permuted(np.tile(np.arange(self.size), (self.size, 1)), axis=1)[:, : shape[1]]
        inner = rng.uniform(-1, 1, shape)
        inner /= _spectral_radius(heard, inner)
        outer, shift = rng.uniform(-1, 1, (self.size, channels)), rng.uniform(-1, 1, self.size)
        return heard, inner, outer, shift


def _map(arrays: tuple[Any, ...], leak, scaling, states, interval) -> ReservoirMap:
    names = ("heard", "inner", "outer", "shift", "readout")
    parts = dict(zip(names, arrays, strict=True))
    return ReservoirMap(**parts, leak=leak, scaling=scaling, states=states, interval=interval)


def _spectral_radius(heard: np.ndarray, inner: np.ndarray) -> float:
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import ArpackNoConvergence, eigs

    size, degree = heard.shape
    whole = csr_array((inner.ravel(), heard.ravel(), np.arange(0, size * degree + 1, degree)))
    try:
        if size > 50:
            largest = eigs(whole, 1, v0=np.ones(size), return_eigenvectors=False, maxiter=2000)
            return float(np.abs(largest).max())
    except ArpackNoConvergence:
        pass
    return float(np.abs(np.linalg.eigvals(whole.toarray())).max())


def _scaled(drawn: tuple[np.ndarray, ...], radius: float, inputs: float) -> tuple[Any, ...]:
    heard, *rest = drawn
    dtype = jnp.zeros(()).dtype
    sizes = (radius, inputs, inputs)
    return (
        jnp.asarray(heard),
        *(jnp.asarray(a * s, dtype) for a, s in zip(rest, sizes, strict=True)),
    )


@jax.jit
def _driven(arrays, leak, x):
    """Units after each row of a series."""

    def step(r, row):
        r = _advanced(arrays, leak, r, row)
        return r, r

    return jax.lax.scan(step, jnp.zeros_like(arrays[-1]), x)[1]


def _units(arrays, leak: float, z: np.ndarray):
    x = jnp.asarray(without_gaps(z), arrays[-1].dtype)
    return _driven(arrays, jnp.asarray(leak, x.dtype), x)


@jax.jit
def _products(units, goal, there):
    f = features(units) * there[:, None]
    return f.T @ f, f.T @ goal


def _readouts(seen, ridges) -> Float[Array, "q C f"]:
    """The readout for each ridge from units and rows of each series, by one decomposition."""
    left = right = np.zeros(())
    for units, z in seen:
        lost = min(100, len(z) // 5)  # until the start is forgotten
        goal = z[lost + 1 :]
        there = np.isfinite(goal).all(axis=1)
        goal = jnp.asarray(np.where(there[:, None], goal, 0.0), units.dtype)
        parts = _products(units[lost:-1], goal, jnp.asarray(there, units.dtype))
        left, right = (a + np.asarray(b, float) for a, b in zip((left, right), parts, strict=True))
    values, basis = np.linalg.eigh(left)
    turned, size = basis.T @ right, np.trace(left) / len(left)
    found = [basis @ (turned / (np.maximum(values, 0) + r * size)[:, None]) for r in ridges]
    return jnp.asarray(np.stack([u.T for u in found]), jnp.zeros(()).dtype)


@eqx.filter_jit
def _free(arrays, leak, readouts, units, steps: int):
    """Free runs `(q, b, steps, C)` by every readout."""

    def run(readout, state):
        model = _map((*arrays, readout), leak, Scaling((), (), False), (), 1.0)
        return model.free(state, steps)

    return jax.vmap(lambda u: jax.vmap(lambda state: run(u, state))(units))(readouts)


def _free_errors(arrays, leak: float, readouts, units, scaled, known) -> np.ndarray:
    """Mean squared errors of free runs over rows that the readouts have not seen."""
    total, count = np.zeros(len(readouts)), 0
    rate = jnp.asarray(leak, readouts.dtype)
    for z, r, seen in zip(scaled, units, known, strict=True):
        steps = max(2, min(100, len(z) // 20))
        heads = np.unique(np.linspace(seen - 1, len(z) - 1 - steps, _TRIALS).astype(int))
        found = np.asarray(_free(arrays, rate, readouts, r[heads], steps))
        exact = np.stack([z[h + 1 : h + 1 + steps] for h in heads])
        gap = np.where(np.isfinite(exact), found - exact, 0.0)
        total, count = total + (gap**2).sum(axis=(1, 2, 3)), count + np.isfinite(exact).sum()
    return np.where(np.isfinite(total), total, np.inf) / max(count, 1)
