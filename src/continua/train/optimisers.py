"""First-order optimisers, and the interface that all optimisers have."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from continua.nets import OwnRate
from continua.train.schedules import AbstractSchedule, Constant, Cosine, Exponential

Schedule = Constant | Cosine | Exponential
Objective = Callable[[Any], tuple[Any, Any]]


class Row(NamedTuple):
    """What one step reports, scalars.

    **Arguments:**

    - `loss`: before the step.
    - `gradient_norm`: before the step.
    - `learning_rate`: or the step length that a line search found.
    - `evaluations`: of the loss and its gradient.
    - `parts`: of the loss before the step, where they are known without a further evaluation.
    """

    loss: Any
    gradient_norm: Any
    learning_rate: Any
    evaluations: Any
    parts: Any = None


class AbstractOptimiser(abc.ABC):
    """How parameters are moved; a frozen dataclass of plain values."""

    @abc.abstractmethod
    def init(self, params: Any) -> Any:
        """The state before the first step, a tree of arrays."""

    @abc.abstractmethod
    def step(
        self, objective: Objective, params: Any, state: Any, *, step: Any, total: int
    ) -> tuple[Any, Any, Row]:
        """One step.

        **Arguments:**

        - `objective`: parameters to the loss and its parts.
        - `params`, `state`: the parameters and what `init` or the last step returned.
        - `step`, `total`: the number of the step in its stage, and of all its steps.

        **Returns:** parameters, state, and a `Row`.
        """

    @abc.abstractmethod
    def renew(self, state: Any) -> Any:
        """The state after the objective has changed: what it remembers of it is old."""

    @abc.abstractmethod
    def settled(self, params: Any, state: Any) -> Any:
        """The parameters that a stage ends with.

        **Arguments:**

        - `params`, `state`: of the last step.
        """


class _AbstractFirstOrder(AbstractOptimiser):
    """One gradient a step, transformed by optax or SOAP."""

    learning_rate: float
    schedule: Schedule
    clip: float | None

    @abc.abstractmethod
    def transformation(self) -> optax.GradientTransformation:
        """Gradients to steps, before the learning rate."""

    def init(self, params):
        return self.transformation().init(params)

    def step(self, objective, params, state, *, step, total):
        (loss, parts), gradient = jax.value_and_grad(objective, has_aux=True)(params)
        norm = optax.tree.norm(gradient)
        if self.clip is not None:
            scale = jnp.minimum(1.0, self.clip / (norm + 1e-12))
            gradient = jax.tree.map(lambda g: g * scale, gradient)
        rate = jnp.asarray(self.learning_rate * self.schedule.factor(step, total), loss.dtype)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes counts and floats
            direction, state = self.transformation().update(gradient, state, params)
        direction = _at_own_rates(direction)
        params = jax.tree.map(lambda p, d: p - (rate * d).astype(p.dtype), params, direction)
        return params, state, Row(loss, norm, rate, jnp.ones((), int), parts)

    def renew(self, state):
        return state

    def settled(self, params, state):
        return params


def _own(node: Any) -> bool:
    return isinstance(node, OwnRate)


def _at_own_rates(direction: Any) -> Any:
    """A step whose parts in an `OwnRate` are scaled by it."""

    def scaled(node):
        return jax.tree.map(lambda d: node.rate * d, node) if _own(node) else node

    return jax.tree.map(scaled, direction, is_leaf=_own)


def _decays(params: Any) -> Any:
    """Which weights decay: those in no `OwnRate`."""
    return jax.tree.map(
        lambda node: jax.tree.map(lambda _: not _own(node), node), params, is_leaf=_own
    )


@dataclasses.dataclass(frozen=True)
class Adam(_AbstractFirstOrder):
    """Adam, and AdamW where there is weight decay.

    `m <- b1 m + (1-b1) g`, `v <- b2 v + (1-b2) g^2`,
    `p <- p - rate (m' / (sqrt(v') + eps) + weight_decay p)`, primes: bias corrected.

    **Arguments:**

    - `learning_rate`: 1e-3, times the factor of `schedule`.
    - `weight_decay`: decoupled, 0.
    - `clip`: largest global norm of the gradient, `None` for no limit.
    - `b1`, `b2`, `epsilon`: 0.9, 0.999, 1e-8.

    **Reference:** loshchilov2019decoupled
    """

    learning_rate: float = 1e-3
    schedule: Schedule = Constant()
    weight_decay: float = 0.0
    clip: float | None = None
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8

    def transformation(self):
        adam = optax.scale_by_adam(self.b1, self.b2, self.epsilon)
        if not self.weight_decay:
            return adam
        return optax.chain(adam, optax.add_decayed_weights(self.weight_decay, _decays))


@dataclasses.dataclass(frozen=True)
class OptimisticAdam(_AbstractFirstOrder):
    """Adam that steps along where its direction is going, for games of two players.

    `p <- p - rate (2 d_k - d_{k-1})`, `d` the direction of Adam without the rate: plain steps
    go around an equilibrium, these spiral into it.

    **Arguments:**

    - `learning_rate`: 1e-3, times the factor of `schedule`.
    - `clip`, `b1`, `b2`, `epsilon`: as `Adam`; without momentum, 0 and 0.99, by default.

    **Reference:** daskalakis2018training
    """

    learning_rate: float = 1e-3
    schedule: Schedule = Constant()
    clip: float | None = None
    b1: float = 0.0
    b2: float = 0.99
    epsilon: float = 1e-8

    def transformation(self):
        adam = optax.scale_by_adam(self.b1, self.b2, self.epsilon)
        return optax.chain(adam, optax.scale_by_optimistic_gradient())


@dataclasses.dataclass(frozen=True)
class Lion(_AbstractFirstOrder):
    """Lion: the sign of a moving average of gradients.

    `p <- p - rate (sign(b1 m + (1-b1) g) + weight_decay p)`, `m <- b2 m + (1-b2) g`.

    **Arguments:**

    - `learning_rate`: 1e-4, times the factor of `schedule`; about a tenth of Adam's.
    - `weight_decay`, `clip`: as `Adam`.
    - `b1`, `b2`: 0.9, 0.99.

    **Reference:** chen2023symbolic
    """

    learning_rate: float = 1e-4
    schedule: Schedule = Constant()
    weight_decay: float = 0.0
    clip: float | None = None
    b1: float = 0.9
    b2: float = 0.99

    def transformation(self):
        lion = optax.scale_by_lion(self.b1, self.b2)
        if not self.weight_decay:
            return lion
        return optax.chain(lion, optax.add_decayed_weights(self.weight_decay, _decays))


@dataclasses.dataclass(frozen=True)
class SOAP(_AbstractFirstOrder):
    """Adam in the slowly turning eigenbasis of Shampoo's preconditioner.

    For a matrix gradient `G`: `L <- b2 L + (1-b2) G G^T`, `R` likewise from `G^T G`,
    with eigenbases `Q_L`, `Q_R`; Adam's second moment is taken of `Q_L^T G Q_R`, and
    its step is turned back. The first step only builds `L` and `R`.

    **Arguments:**

    - `learning_rate`: 1e-3, times the factor of `schedule`.
    - `weight_decay`, `clip`, `b1`, `b2`, `epsilon`: as `Adam`.
    - `every`: steps between turns of the bases, 2.
    - `max_size`: axes longer than this keep the identity as basis.

    **Reference:** vyas2025soap
    """

    learning_rate: float = 1e-3
    schedule: Schedule = Constant()
    weight_decay: float = 0.0
    clip: float | None = None
    b1: float = 0.9
    b2: float = 0.999
    epsilon: float = 1e-8
    every: int = 2
    max_size: int = 1024

    def transformation(self):
        from continua.train.soap import scale_by_soap

        soap = scale_by_soap(self.b1, self.b2, self.epsilon, self.every, self.max_size)
        if not self.weight_decay:
            return soap
        return optax.chain(soap, optax.add_decayed_weights(self.weight_decay, _decays))


__all__ = [
    "SOAP",
    "AbstractOptimiser",
    "AbstractSchedule",
    "Adam",
    "Lion",
    "OptimisticAdam",
    "Objective",
    "Row",
    "Schedule",
]
