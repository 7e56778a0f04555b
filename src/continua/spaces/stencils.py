"""Finite-difference weights, and derivatives of uniform grids made of them."""

import functools
import math

import numpy as np


def fornberg(place: float, nodes: np.ndarray, order: int) -> np.ndarray:
    """Weights of the derivative of the polynomial through values at nodes.

        u^(n)(place) ~ sum_j w_j u(nodes_j)

    **Arguments:**

    - `place`: where the derivative is taken.
    - `nodes`: `(m,)`, different from each other.
    - `order`: `n`, below `m`; 0 interpolates.

    **Returns:** `(m,)`.

    **Reference:** fornberg1988generation
    """
    m = len(nodes)
    table = np.zeros((m, order + 1))
    table[0, 0] = 1.0
    product = 1.0
    for i in range(1, m):
        new = 1.0
        for j in range(i):
            gap = nodes[i] - nodes[j]
            new *= gap
            for n in range(min(i, order), -1, -1):
                if j == i - 1:
                    before = n * table[i - 1, n - 1] if n else 0.0
                    old = nodes[i - 1] - place
                    table[i, n] = product * (before - old * table[i - 1, n]) / new
            for n in range(min(i, order), -1, -1):
                lower = n * table[j, n - 1] if n else 0.0
                table[j, n] = ((nodes[i] - place) * table[j, n] - lower) / gap
        product = new
    return table[:, order]


def half_width(derivative: int, order: int) -> int:
    """Neighbours on each side that a centred stencil needs."""
    return (derivative + 1) // 2 - 1 + order // 2


@functools.lru_cache(maxsize=256)
def centred(derivative: int, order: int) -> tuple[float, ...]:
    """Weights of a centred stencil for unit spacing."""
    reach = half_width(derivative, order)
    return _rational(0, range(-reach, reach + 1), derivative)


@functools.lru_cache(maxsize=256)
def closure(derivative: int, order: int) -> tuple[tuple[float, ...], ...]:
    """Rows of the nodes next to a lower wall, where a centred stencil does not fit, for
    unit spacing: each over the first `derivative + order` nodes."""
    reach = half_width(derivative, order)
    nodes = range(max(derivative + order, 2 * reach + 1))
    return tuple(_rational(i, nodes, derivative) for i in range(reach))


def _rational(place: int, nodes: range, derivative: int) -> tuple[float, ...]:
    """As `fornberg`, on integers, without rounding."""
    from fractions import Fraction

    weights = []
    for j in nodes:
        # Coefficients of the Lagrange polynomial of node j, in powers of x - place.
        polynomial = [Fraction(1)]
        for i in nodes:
            if i != j:
                shifted = [Fraction(0), *polynomial]
                rest = [c * (place - i) for c in polynomial] + [Fraction(0)]
                polynomial = [(a + b) / (j - i) for a, b in zip(shifted, rest, strict=True)]
        weights.append(float(polynomial[derivative] * math.factorial(derivative)))
    return tuple(weights)
