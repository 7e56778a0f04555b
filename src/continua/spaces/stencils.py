"""Finite-difference weights on uniform nodes, without rounding."""

import functools
import math
from fractions import Fraction


@functools.lru_cache(maxsize=1024)
def stencil(place: int, count: int, derivative: int) -> tuple[float, ...]:
    """Weights of a derivative at node `place` of the nodes `0 .. count - 1`.

        u^(n)(place) ~ sum_j w_j u(j)

    The derivative of the polynomial through the values, for unit spacing.

    **Arguments:**

    - `place`: an integer, inside the nodes or not.
    - `count`: nodes, more than `derivative`.
    - `derivative`: `n`.

    **Returns:** one weight a node.

    **Reference:** fornberg1988generation
    """
    weights = []
    for j in range(count):
        # Coefficients of the Lagrange polynomial of node j, in powers of x - place.
        polynomial = [Fraction(1)]
        for i in range(count):
            if i != j:
                raised = [Fraction(0), *polynomial]
                rest = [c * (place - i) for c in polynomial] + [Fraction(0)]
                polynomial = [(a + b) / (j - i) for a, b in zip(raised, rest, strict=True)]
        weights.append(float(polynomial[derivative] * math.factorial(derivative)))
    return tuple(weights)


def reach(derivative: int, order: int) -> int:
    """Neighbours on each side that a centred stencil of even order needs."""
    return (derivative + 1) // 2 - 1 + order // 2


def centred(derivative: int, order: int) -> tuple[float, ...]:
    """Weights of a centred stencil for unit spacing."""
    width = reach(derivative, order)
    return stencil(width, 2 * width + 1, derivative)


def closure(derivative: int, order: int) -> tuple[tuple[float, ...], ...]:
    """Rows of the nodes next to a lower wall, where a centred stencil does not fit, for
    unit spacing; each of the same order, over the first nodes."""
    width = reach(derivative, order)
    count = max(derivative + order, 2 * width + 1)
    return tuple(stencil(i, count, derivative) for i in range(width))
