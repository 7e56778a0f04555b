r"""Whether gradients are right: each way to take them beside finite differences.

Derivatives along random directions `v` are compared,

    d/de loss(x + e v) ~ R(h) = (4 D(h/2) - D(h)) / 3,
    D(h) = (loss(x + h v) - loss(x - h v)) / 2h,

and `|R(h/2) - R(h)|` tells how well the finite differences know them.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from continua.core.cost import stopwatch
from continua.core.errors import InputError
from continua.integrate.continuous import Continuous
from continua.integrate.gradients import Direct, Replay


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """What `check_gradient` found; as text, a table.

    **Arguments:**

    - `names`: of the ways to take the gradient.
    - `derivatives`: `(ways, directions)`.
    - `seconds`: of each way, warm.
    - `differences`: finite differences along the same directions.
    - `uncertainty`: how far these may be off.
    """

    names: tuple[str, ...]
    derivatives: np.ndarray
    seconds: tuple[float, ...]
    differences: np.ndarray
    uncertainty: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """The largest relative deviation of each way from finite differences."""
        size = np.abs(self.differences).max()
        return np.abs(self.derivatives - self.differences).max(axis=1) / size

    @property
    def resolution(self) -> float:
        """The relative deviation below which finite differences cannot tell."""
        return float(self.uncertainty.max() / np.abs(self.differences).max())

    def __str__(self) -> str:
        width = max(len(name) for name in (*self.names, "finite differences"))
        lines = [
            f"{'gradient':{width}}  {'against differences':>19}  {'against first':>13}  seconds"
        ]
        size = np.abs(self.differences).max()
        for name, row, error, seconds in zip(
            self.names, self.derivatives, self.errors, self.seconds, strict=True
        ):
            apart = np.abs(row - self.derivatives[0]).max() / size
            lines.append(f"{name:{width}}  {error:19.1e}  {apart:13.1e}  {seconds:7.2g}")
        lines.append(
            f"{'finite differences':{width}}  {self.resolution:19.1e}  their own uncertainty"
        )
        return "\n".join(lines)


def check_gradient(
    loss: Callable[[Any, Any], Any],
    x: Any,
    gradients: Sequence[Any] = (Replay(), Continuous(), Direct()),  # noqa: B008
    *,
    key: jax.Array,
    directions: int = 3,
    step: float | None = None,
) -> GradientCheck:
    """Compare ways to take a gradient with finite differences, and with each other.

    **Arguments:**

    - `loss`: `(x, gradient)` to a number; it hands `gradient` to `integrate.solve`.
    - `x`: a tree of real arrays.
    - `gradients`: `Replay()`, `Continuous()`, `Direct()` by default.
    - `key`: of the directions.
    - `directions`: how many, 3.
    - `step`: of the finite differences, relative to the size of `x`; by default the root
      of order 5 of the rounding unit. Adaptive steps change with `x`: take tight tolerances.

    **Returns:** a `GradientCheck`; `print` shows its table.

    **Raises:** `InputError` for a loss that is no finite number.
    """
    flat, unravel = ravel_pytree(x)
    value = loss(x, gradients[0])
    if jnp.shape(value) != () or not bool(jnp.isfinite(value)):
        raise InputError(
            f"the loss is {value}, expected one finite number",
            where="integrate.check_gradient.loss",
            fix="return a sum or a mean of the solution; look at its code if it is not finite",
        )
    ways = jax.random.normal(key, (directions, flat.size), flat.dtype)
    ways = ways * jnp.maximum(jnp.abs(flat), 1e-3 * jnp.max(jnp.abs(flat)) + 1e-12)
    ways = ways / jnp.linalg.norm(ways, axis=1, keepdims=True)
    derivatives, seconds = [], []
    for gradient in gradients:
        run = jax.jit(_along(loss, gradient, unravel))
        found = jax.block_until_ready(run(flat, ways))
        with stopwatch() as clock:
            jax.block_until_ready(run(flat, ways))
        derivatives.append(np.asarray(found))
        seconds.append(clock.seconds)
    eps = float(jnp.finfo(flat.dtype).eps)
    h = (eps**0.2 if step is None else step) * float(jnp.linalg.norm(flat))

    @jax.jit
    def shifted(way, h):
        return loss(unravel(flat + h * way), gradients[0])

    def central(h):
        return np.array([(shifted(way, h) - shifted(way, -h)) / (2 * h) for way in ways])

    levels = [central(h / 2**i) for i in range(3)]
    coarse, fine = ((4 * b - a) / 3 for a, b in itertools.pairwise(levels))
    return GradientCheck(
        tuple(type(gradient).__name__ for gradient in gradients),
        np.stack(derivatives),
        tuple(seconds),
        fine,
        np.abs(fine - coarse),
    )


def _along(loss: Callable, gradient: Any, unravel: Callable) -> Callable:
    """Derivatives along directions, in the mode that a gradient has."""

    def value(flat):
        return loss(unravel(flat), gradient)

    if isinstance(gradient, Direct):
        return lambda flat, ways: jnp.stack([jax.jvp(value, (flat,), (way,))[1] for way in ways])
    return lambda flat, ways: ways @ jax.grad(value)(flat)
