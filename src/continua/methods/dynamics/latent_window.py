"""Pieces of series as latent models see them, and how fast they go."""

import dataclasses

import equinox as eqx
from jaxtyping import Array, Float, Int


class Window(eqx.Module):
    """Rows of a series on the common grid of hidden states, or many with a leading axis.

    **Arguments:**

    - `times`: of the rows, from the first, in units of the grid's length `(L,)`.
    - `values`, `mask`: scaled `(L, C)`; 0 and 0 in gaps and behind the last row.
    - `acting`: known inputs and statics at the nodes of the grid `(G + 1, D)`.
    - `node`, `share`: the node before each row, and how far to the next one it lies `(L,)`.
    - `following`: the row behind each node, `L` where there is none, `(G,)`.
    """

    times: Float[Array, "*r L"]
    values: Float[Array, "*r L C"]
    mask: Float[Array, "*r L C"]
    acting: Float[Array, "*r G1 D"]
    node: Int[Array, "*r L"]
    share: Float[Array, "*r L"]
    following: Int[Array, "*r G"]


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast data go, in the units of time of `Window` and scaled values.

    **Arguments:**

    - `step`: of the grid; `row`: between two rows, as a rule.
    - `rate`: of `dx/dt` between rows, as a deviation.
    - `roughness`: of `dx / sqrt(dt)`.
    """

    step: float
    row: float
    rate: float
    roughness: float
