r"""A network that is trained until the residual of the equation vanishes.

With `N[u](z) = 0` the equation, `B_i[u] = g_i` the conditions that the form of the
solution does not fulfil by itself, and `u*` measurements where there are any,

    L(theta) = w_r |N[u] / s|^2 + sum_i w_i |B_i[u] - g_i|^2 + w_d |u - u*|^2,

means over collocation points, walls and measurements. Initial values, periodicity and
(where they agree in the corners) values on walls are built into `u` exactly, so for
many problems the residual is all that is left. The points are drawn where the residual
is large and kept for some hundred steps of a quasi-Newton method: with exact
conditions, double precision and self-scaled Broyden steps errors of 1e-5 and less are
a matter of minutes for small networks.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from continua.core.solution import Solution
from continua.methods.base import AbstractLearnedMethod, Support, beyond
from continua.methods.fields.field import Field, FieldEvaluator, Parameter
from continua.methods.fields.forms import form_of, measured_values
from continua.methods.fields.recovery import estimates
from continua.methods.fields.sampling import Adaptive, Collocation
from continua.methods.fields.weighting import GradientNorm, TangentKernel, Uniform
from continua.nets import (
    MLP,
    Chain,
    Fixed,
    FourierFeatures,
    ModifiedMLP,
    PirateNet,
    compiled,
    trainable,
)
from continua.problems import EquationProblem
from continua.train import Adam, Cosine, SSBroyden, Stage, Training

TRAINING = Training(
    (
        Stage(Adam(5e-3, Cosine(0.1)), steps=500, refresh=100),
        Stage(SSBroyden(), steps=4000, refresh=1000),
    )
)


@dataclasses.dataclass(frozen=True)
class Perceptron:
    """A plain network, best for quasi-Newton training: few parameters.

    **Arguments:**

    - `width`, `depth`: 20 and 3.
    """

    width: int = 20
    depth: int = 3

    def build(self, in_size: int, out_size: int, *, key) -> Any:
        """The network."""
        return MLP(in_size, out_size, width=self.width, depth=self.depth, key=key)


@dataclasses.dataclass(frozen=True)
class Gated:
    """A `ModifiedMLP`, for first-order training of larger networks.

    **Arguments:**

    - `width`, `depth`: 64 and 3.
    """

    width: int = 64
    depth: int = 3

    def build(self, in_size: int, out_size: int, *, key) -> Any:
        """The network."""
        return ModifiedMLP(in_size, out_size, width=self.width, depth=self.depth, key=key)


@dataclasses.dataclass(frozen=True)
class Pirate:
    """A `PirateNet` over random Fourier features.

    **Arguments:**

    - `width`: of features and layers, 64.
    - `depth`: blocks, 2.
    - `scale`: of the frequencies, 1.
    """

    width: int = 64
    depth: int = 2
    scale: float = 1.0

    def build(self, in_size: int, out_size: int, *, key) -> Any:
        """The network."""
        first, second = jax.random.split(key)
        features = FourierFeatures(in_size, self.width, scale=self.scale, key=first)
        return PirateNet(features, out_size, depth=self.depth, key=second)


@dataclasses.dataclass(frozen=True)
class PINN(AbstractLearnedMethod):
    """A physics-informed network.

    `min_theta |N[u_theta]|^2` at collocation points, conditions built in where that is
    possible and penalised elsewhere; unknown parameters are trained along, with
    measurements in the loss.

    **Arguments:**

    - `network`: `Perceptron()`, `Gated()` or `Pirate()`.
    - `num_collocation`: points in the domain; `None` takes 4000, and 400 where time is
      the only coordinate.
    - `num_condition`: points on each wall whose condition is penalised, 200.
    - `harmonics`: of periodic axes, 2.
    - `adaptive`: how the points are drawn.
    - `weighting`: balance of the parts of the loss.
    - `growth`: share of the training in which the horizon in time grows to its full
      length; `None` takes 0.5 where time is the only coordinate, else 0.
    - `causality`: `eps` of causal weights `exp(-eps sum of earlier losses)`, 0: none.
    - `training`: Adam first, then self-scaled Broyden steps on kept points.

    **Reference:** raissi2019pinn
    """

    network: Perceptron | Gated | Pirate = Perceptron()
    num_collocation: int | None = None
    num_condition: int = 200
    harmonics: int = 2
    adaptive: Adaptive = Adaptive()
    weighting: GradientNorm | TangentKernel | Uniform = GradientNorm()
    growth: float | None = None
    causality: float = 0.0
    training: Training = TRAINING

    kind: ClassVar[str] = "learned"
    reference: ClassVar[str] = "raissi2019pinn"
    amortised: ClassVar[bool] = False

    def supports(self, problem) -> Support:
        if not isinstance(problem, EquationProblem):
            return Support(False, "a PINN needs an equation with its conditions")
        if problem.equation.fields:
            return Support(False, "a PINN needs known fields as formulas, not as samples")
        return beyond(problem, "a PINN")

    def generate(self, problem) -> None:
        """A PINN needs no data but those of the problem."""

    def init(self, problem, *, key) -> Field:
        form = form_of(problem, self.harmonics)
        equation = problem.equation
        unknown = {
            name: Parameter(u.start, u.lower, u.upper)
            for name, u in problem.unknown_parameters.items()
        }
        net = self.network.build(form.features, len(equation.unknowns), key=key)
        parts = ["residual", *(f"condition_{i}" for i in range(len(form.penalties)))]
        parts += ["data"] if problem.data is not None else []
        field = Field(
            net=Chain((form.embedding, net)),
            raw={name: jnp.zeros(()) for name in unknown},
            weights=Fixed({name: jnp.ones(()) for name in parts}),
            equation=equation,
            known=dict(problem.parameters),
            unknown=unknown,
            ansatz=form.ansatz,
            penalties=form.penalties,
            scales=(1.0,) * len(equation.unknowns),
        )
        scales = _residual_scales(problem, field)
        return dataclasses.replace(field, scales=scales)

    def batches(self, problem) -> Collocation:
        form = form_of(problem, self.harmonics)
        equation = problem.equation
        ends = [problem.domain[c] for c in equation.coordinates]
        ordinary = equation.coordinates == (equation.time,)
        count = self.num_collocation or (400 if ordinary else 4000)
        growth = (0.5 if ordinary else 0.0) if self.growth is None else self.growth
        time = equation.time and equation.coordinates.index(equation.time)
        return Collocation(
            self.adaptive,
            tuple(float(a) for a, _ in ends),
            tuple(float(b) for _, b in ends),
            count,
            self.num_condition,
            tuple((p.axis, p.place) for p in form.penalties),
            time,
            round(growth * self.training.steps),
            _measurements(problem),
        )

    def parts(self, model: Field, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The unweighted parts of the loss by name."""
        residual = jnp.sum(model.residual(batch["residual"]) ** 2, axis=-1)
        if self.causality:
            residual = residual * self._causal(model, batch["residual"], residual)
        parts = {"residual": jnp.mean(residual)}
        for i, penalty in enumerate(model.penalties):
            name = f"condition_{i}"
            parts[name] = jnp.mean(model.penalty(penalty, batch[name]) ** 2)
        if "data" in batch:
            data = batch["data"]
            parts["data"] = jnp.sum(model.misfit(data) ** 2) / jnp.sum(data["mask"])
        return parts

    def loss(self, model, batch, *, key):
        parts = self.parts(model, batch)
        weights = model.weights.value
        return sum(weights[name] * part for name, part in parts.items()), parts

    def adapt(self, model: Field, batch, *, key) -> Field:
        """The model with renewed weights."""
        if len(model.weights.value) == 1:
            return model
        params, rest = eqx.partition(model, trainable(model))
        weights = self.weighting.update(
            model.weights.value,
            lambda p: self.parts(eqx.combine(p, rest), batch),
            params,
        )
        return dataclasses.replace(model, weights=Fixed(weights))

    def finish(self, model: Field, problem) -> Solution:
        sampler = self.batches(problem)

        def judge(model):
            batch = sampler.sample(0, model, key=jax.random.key(0))
            return batch, self.parts(model, batch)

        batch, parts = compiled(model, judge)()
        return Solution(
            method=self.name,
            unknowns=tuple(problem.equation.unknowns),
            coordinates=tuple(problem.equation.coordinates),
            grid=problem.evaluation_grid(),
            evaluator=FieldEvaluator(model),
            parameters=estimates(model, batch),
            stats={name: float(value) for name, value in parts.items()},
        )

    def _causal(self, model, points, residual):
        """Weights that fall where the loss at earlier times is not small yet."""
        equation = model.equation
        if equation.time is None:
            return jnp.ones_like(residual)
        order = jnp.argsort(points[:, equation.coordinates.index(equation.time)])
        before = jnp.cumsum(residual[order]) - residual[order]
        weights = jnp.exp(-self.causality * before / residual.size)
        return jax.lax.stop_gradient(jnp.zeros_like(residual).at[order].set(weights))


def _residual_scales(problem, field: Field) -> tuple[float, ...]:
    """Sizes of the expressions: in time, the unknown's size over the time to cross."""
    equation = problem.equation
    if equation.time is None:
        return field.scales
    start, end = problem.domain[equation.time]
    return tuple(
        form.scale / float(end - start) ** max(equation.time_orders[u], 0)
        for u, form in zip(equation.unknowns, field.ansatz, strict=True)
    )


def _measurements(problem) -> dict[str, Any] | None:
    if problem.data is None:
        return None
    values = measured_values(problem)
    dtype = jnp.zeros(()).dtype
    return {
        "points": jnp.asarray(np.asarray(problem.data.points), dtype),
        "values": jnp.asarray(np.nan_to_num(values), dtype),
        "mask": jnp.asarray(np.isfinite(values), dtype),
    }
