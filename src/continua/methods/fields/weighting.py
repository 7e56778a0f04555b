"""How the parts of a physics-informed loss are balanced."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

Weights = dict[str, Float[Array, ""]]


class AbstractWeighting(abc.ABC):
    """A rule for the weights of the parts of a loss."""

    @abc.abstractmethod
    def update(
        self, weights: Weights, parts: Callable[[Any], Mapping[str, Any]], params: Any
    ) -> Weights:
        """The next weights.

        **Arguments:**

        - `weights`: the present ones.
        - `parts`: parameters to the unweighted parts of the loss by name.
        - `params`: the trained parameters.
        """


@dataclasses.dataclass(frozen=True)
class Uniform(AbstractWeighting):
    """Constant weights of 1."""

    def update(self, weights, parts, params):
        return weights


@dataclasses.dataclass(frozen=True)
class GradientNorm(AbstractWeighting):
    """Weights that make the gradients of all parts equally long.

    `w_i <- m w_i + (1 - m) mean_j |grad L_j| / (|grad L_i| + 1e-5 mean)`.

    **Arguments:**

    - `momentum`: `m`, 0.9; 0 balances at once.
    - `smallest`, `largest`: bounds of the weights, 0.1 and 1e4.

    **Reference:** wang2023experts
    """

    momentum: float = 0.9
    smallest: float = 0.1
    largest: float = 1e4

    def update(self, weights, parts, params):
        norms = {
            name: optax.tree.norm(jax.grad(lambda p, name=name: parts(p)[name])(params))
            for name in weights
        }
        return balanced(self, weights, norms)


@dataclasses.dataclass(frozen=True)
class TangentKernel(AbstractWeighting):
    """Weights by the trace of the neural tangent kernel of each part.

    `w_i <- m w_i + (1 - m) mean_j k_j / k_i`, with `k_i` the mean over points of
    `|d residual / d parameters|^2`, estimated here by `|grad L_i|^2 / (4 L_i)`, the
    kernel's Rayleigh quotient at the present residuals.

    **Arguments:** as `GradientNorm`.

    **Reference:** wang2022when
    """

    momentum: float = 0.9
    smallest: float = 0.1
    largest: float = 1e4

    def update(self, weights, parts, params):
        values = parts(params)
        sizes = {}
        for name in weights:
            gradient = jax.grad(lambda p, name=name: parts(p)[name])(params)
            sizes[name] = optax.tree.norm(gradient, squared=True) / (4 * values[name] + 1e-30)
        return balanced(self, weights, sizes)


def balanced(rule, weights: Weights, sizes: Mapping[str, Any]) -> Weights:
    """Weights moved towards the inverse of sizes, within the bounds of a rule."""
    mean = sum(sizes.values()) / len(sizes)
    new = {}
    for name, size in sizes.items():
        wanted = jnp.clip(mean / (size + 1e-5 * mean + 1e-30), rule.smallest, rule.largest)
        mixed = rule.momentum * weights[name] + (1 - rule.momentum) * wanted
        new[name] = jax.lax.stop_gradient(jnp.where(jnp.isfinite(mixed), mixed, weights[name]))
    return new
