"""A network as the solution of an equation: its values, residual and conditions."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from continua.equations import derivatives
from continua.equations.expression import Expression
from continua.methods.fields.ansatz import Ansatz
from continua.nets import Fixed, compiled


@dataclasses.dataclass(frozen=True)
class Penalty:
    """A condition that is added to the loss: `sum_k a_k d^k u / dx^k = g` on a wall.

    **Arguments:**

    - `unknown`: the number of the unknown.
    - `axis`, `place`: the coordinate and where on it the wall lies.
    - `coefficients`: pairs of order `k` and `a_k`.
    - `value`: `g`.
    - `scale`: the size of the unknown, by which the condition is divided.
    """

    unknown: int
    axis: int
    place: float
    coefficients: tuple[tuple[int, Expression], ...]
    value: Expression
    scale: float


@dataclasses.dataclass(frozen=True)
class Parameter:
    """An unknown parameter, kept within its bounds by a smooth map of a free number.

    **Arguments:**

    - `start`, `lower`, `upper`: `-inf` and `inf` for no bound.
    """

    start: float
    lower: float
    upper: float

    def decode(self, raw: Float[Array, ""]) -> Float[Array, ""]:
        """The parameter for a free number; 0 gives the start."""
        size = max(abs(self.start), 1e-3)
        below, above = self.start - self.lower, self.upper - self.start
        if below < float("inf") and above < float("inf") and below > 0 and above > 0:
            offset = math.log(below / above)
            return self.lower + (self.upper - self.lower) * jax.nn.sigmoid(raw + offset)
        if 0 < below < float("inf"):
            return self.lower + below * jnp.exp(raw)
        if 0 < above < float("inf"):
            return self.upper - above * jnp.exp(-raw)
        return self.start + size * raw


class Field(eqx.Module):
    """The solution of an equation as a network within an `Ansatz`.

    **Arguments:**

    - `net`: coordinates `(d,)` to one output for each unknown.
    - `raw`: free numbers of the unknown parameters.
    - `weights`: of the parts of the loss, `Fixed`.
    - `equation`, `known`: the equation, and the values of its known parameters.
    - `unknown`: a `Parameter` for each unknown one.
    - `ansatz`: one for each unknown; `penalties`: conditions that it does not fulfil.
    - `scales`: sizes by which the residuals are divided.
    """

    net: Callable
    raw: dict[str, Float[Array, ""]]
    weights: Fixed
    equation: Any
    known: Mapping[str, float]
    unknown: Mapping[str, Parameter]
    ansatz: tuple[Ansatz, ...]
    penalties: tuple[Penalty, ...]
    scales: tuple[float, ...]

    def __call__(self, point: Float[Array, " d"]) -> Float[Array, " c"]:
        outputs, parameters = self.net(point), self.parameters
        values = [form(outputs[i], point, parameters) for i, form in enumerate(self.ansatz)]
        return jnp.concatenate([value[None] for value in values])

    @property
    def parameters(self) -> dict[str, Any]:
        """Known and unknown parameters by name."""
        recovered = {n: p.decode(self.raw[n]) for n, p in self.unknown.items()}
        return {**self.known, **recovered}

    def residual(self, points: Float[Array, "n d"]) -> Float[Array, "n e"]:
        """The residual of each expression, divided by its size."""
        residual = self.equation.residual(self, points, self.parameters)
        return residual * (1 / jnp.asarray(self.scales, residual.dtype))

    def penalty(self, penalty: Penalty, points: Float[Array, "n d"]) -> Float[Array, " n"]:
        """By how much a condition is missed at points on its wall."""
        dimension, parameters = points.shape[1], self.parameters
        orders = [
            tuple(k if i == penalty.axis else 0 for i in range(dimension))
            for k, _ in penalty.coefficients
        ]

        def at_point(point):
            rows = derivatives(self, point, orders)[:, penalty.unknown]
            terms = [
                a(point, parameters) * row
                for (_, a), row in zip(penalty.coefficients, rows, strict=True)
            ]
            return sum(terms) - penalty.value(point, parameters)

        return jax.vmap(at_point)(points) * (1 / penalty.scale)

    def misfit(self, data: Mapping[str, Array]) -> Float[Array, "n c"]:
        """By how much measurements are missed, 0 where there are none."""
        values = jax.vmap(self)(data["points"])
        gap = (values - data["values"]) * data["mask"]
        scales = jnp.asarray([form.scale for form in self.ansatz], gap.dtype)
        return gap * (1 / scales)


class FieldEvaluator(eqx.Module):
    """A `Field` as the evaluator of a solution: points `(n, d)` to values `(n, c)`.

    **Arguments:**

    - `field`: a trained one.
    """

    field: Field

    def __call__(self, points: Any) -> Float[Array, "n c"]:
        return self._program(jnp.asarray(points, jnp.zeros(()).dtype))

    @functools.cached_property
    def _program(self):
        return compiled(self.field, lambda field, points: jax.vmap(field)(points))
