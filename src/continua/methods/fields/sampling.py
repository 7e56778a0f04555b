"""Where the residual is looked at: collocation points drawn where it is large."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.train import AbstractSampler


@dataclasses.dataclass(frozen=True)
class Adaptive:
    """Residual-adaptive distribution of collocation points.

    Points are drawn from a uniform pool with probability proportional to
    `|r|^power / mean |r|^power + floor`.

    **Arguments:**

    - `power`: 1; 0 gives uniform points.
    - `floor`: 0.3; the larger, the more uniform.
    - `pool`: points of the pool for each point that is kept, 10.

    **Reference:** wu2023comprehensive
    """

    power: float = 1.0
    floor: float = 0.3
    pool: int = 10


class Collocation(AbstractSampler):
    """Points in the domain and on the walls whose conditions are penalties.

    **Arguments:**

    - `adaptive`: the distribution of the points in the domain.
    - `lower`, `upper`: the box.
    - `count`: points in the domain, and on each wall `count_walls`.
    - `walls`: pairs of axis and place, one for each penalty.
    - `time`: the number of the time coordinate, or `None`.
    - `growth`: steps over which the horizon in time grows to its full length, 0 for
      the full length at once.
    - `data`: measurements, handed on with every batch, or `None`.
    """

    adaptive: Adaptive = eqx.field(static=True)
    lower: tuple[float, ...] = eqx.field(static=True)
    upper: tuple[float, ...] = eqx.field(static=True)
    count: int = eqx.field(static=True)
    count_walls: int = eqx.field(static=True)
    walls: tuple[tuple[int, float], ...] = eqx.field(static=True)
    time: int | None = eqx.field(static=True, default=None)
    growth: int = eqx.field(static=True, default=0)
    data: Any = None

    def sample(self, step, model, *, key):
        inner, choice, *rest = jax.random.split(jax.random.fold_in(key, step), 2 + len(self.walls))
        adaptive = self.adaptive
        if adaptive.power:
            pool = self._early(self._uniform(self.count * adaptive.pool, inner), step)
            size = jnp.linalg.norm(model.residual(pool), axis=-1) ** adaptive.power
            chosen = draw(size / jnp.mean(size) + adaptive.floor, self.count, key=choice)
            points = pool[chosen]
        else:
            points = self._early(self._uniform(self.count, inner), step)
        batch = {"residual": points}
        for i, ((axis, place), k) in enumerate(zip(self.walls, rest, strict=True)):
            batch[f"condition_{i}"] = self._uniform(self.count_walls, k).at[:, axis].set(place)
        if self.data is not None:
            batch["data"] = self.data
        return batch

    def _early(self, points, step):
        """Points moved to within the horizon of a step."""
        if self.time is None or not self.growth:
            return points
        # One twentieth at first; the last fifth of the growth sees the whole horizon.
        done = jnp.asarray(step).astype(points.dtype) / (0.8 * self.growth)
        share = jnp.clip(0.05 + 0.95 * done, 0.05, 1.0)
        start = self.lower[self.time]
        t = start + share * (points[:, self.time] - start)
        return points.at[:, self.time].set(t)

    def _uniform(self, count: int, key) -> Float[Array, "n d"]:
        low, high = jnp.array(self.lower), jnp.array(self.upper)
        return low + (high - low) * jax.random.uniform(key, (count, low.size))


def draw(density: Float[Array, " n"], count: int, *, key) -> Array:
    """Numbers of `count` different points, drawn one after another by `density`.

    The largest `log(density) + Gumbel noise` are such a draw.

    **Arguments:**

    - `density`: not normalised; points where it is not finite count as 1.
    - `count`: how many.
    """
    density = jnp.where(jnp.isfinite(density), density, 1.0)
    noise = jax.random.gumbel(key, density.shape, density.dtype)
    return jax.lax.top_k(jnp.log(density) + noise, count)[1]
