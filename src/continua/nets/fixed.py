"""Arrays of a model that training leaves alone or moves slowly, and the count of all others."""

from typing import Any

import equinox as eqx
import jax


class Fixed(eqx.Module):
    """A part of a model that is carried along, saved and read, but never trained.

    **Arguments:**

    - `value`: an array or a tree of arrays.
    """

    value: Any


class OwnRate(eqx.Module):
    """A part of a model that first-order optimisers move at a rate of its own, and that
    weight decay leaves alone.

    **Arguments:**

    - `value`: an array or a tree of arrays.
    - `rate`: times the learning rate of all other weights.
    """

    value: Any
    rate: float = eqx.field(static=True)


def trainable(model: Any) -> Any:
    """Which leaves are trained: floating-point arrays that lie in no `Fixed`.

    **Arguments:**

    - `model`: any tree.

    **Returns:** a tree of `bool`, a prefix of the model, for `equinox.partition`.
    """
    return jax.tree.map(
        lambda node: not isinstance(node, Fixed) and eqx.is_inexact_array(node),
        model,
        is_leaf=lambda node: isinstance(node, Fixed),
    )


def count_parameters(model: Any) -> int:
    """How many numbers training moves.

    **Arguments:**

    - `model`: any tree; arrays inside `Fixed` do not count.
    """
    return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, trainable(model))))
