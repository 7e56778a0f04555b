"""Finite-difference weights on uniform nodes, without rounding."""

import functools
import math
from fractions import Fraction

import numpy as np

_RANK = 1e-11  # relative size of singular values that count as none


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


@functools.lru_cache(maxsize=8)
def summation_by_parts(order: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Rows of a first derivative next to a lower wall whose sums by parts leave wall terms
    alone, as integrals by parts do.

        sum_i h_i (u_i (D v)_i + v_i (D u)_i) = u_N v_N - u_0 v_0

    Centred inside, of half the order in the rows: a first-order system whose conditions
    are imposed at wall nodes keeps its energy from growing, and loses one half of the
    order, less one, at most.

    **Arguments:**

    - `order`: of the centred stencil, 2, 4 or 6.

    **Returns:** the rows `(r, m)` over the first nodes, and the norm `h` `(r,)` of the
    first nodes (1 of all others), for unit spacing.

    **Reference:** strand1994summation
    """
    half = order // 2
    count = 1 if half == 1 else 2 * half
    inside = centred(1, order)
    # D = diag(h)^-1 Q, Q antisymmetric but for Q_00 = -1/2: unknown are h and the upper half
    # of Q among the first nodes; the rest of Q is that of the centred stencil.
    known = np.zeros((count, count + half))
    known[0, 0] = -0.5
    for i in range(count):
        for j in range(count, min(count, i + 1) + half):
            known[i, j] = inside[half + j - i]
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]

    def conditions(powers):
        """Rows and right sides of `Q x^k = k h x^(k-1)` in the first nodes."""
        matrix, right = [], []
        x = np.arange(count + half) / count
        for i in range(count):
            for power in powers:
                row = np.zeros(count + len(pairs))
                row[i] = -power * x[i] ** (power - 1) / count if power else 0.0
                for column, (a, b) in enumerate(pairs, start=count):
                    row[column] = (a == i) * x[b] ** power - (b == i) * x[a] ** power
                matrix.append(row)
                right.append(-known[i] @ x**power)
        return np.array(matrix), np.array(right)

    matrix, right = conditions(range(half + 1))
    solution = np.linalg.lstsq(matrix, right, rcond=_RANK)[0]
    # At order 6 a family is left: that of the least error in the next power.
    _, sizes, directions = np.linalg.svd(matrix)
    free = directions[np.sum(sizes > _RANK * sizes[0]) :].T
    if free.size:
        matrix, right = conditions((half + 1,))
        solution += free @ np.linalg.lstsq(matrix @ free, right - matrix @ solution, rcond=None)[0]
    norm, upper = solution[:count], solution[count:]
    for (i, j), value in zip(pairs, upper, strict=True):
        known[i, j], known[j, i] = value, -value
    return known / norm[:, None], norm
