r"""Which expressions are odd, and which even, about the walls of a box.

A product is odd where an odd number of its factors are, a sum of what all terms are, a
derivative of odd order turns the parity along its coordinate. Where the right-hand side of
each state has the parity of the state, the mirrored problem is periodic and a solution keeps
its parity for ever.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy

from continua.equations.compile import jet_of
from continua.equations.nonlocal_terms import (
    AbstractNonlocal,
    FractionalLaplacian,
    SpaceIntegral,
    SpaceMean,
)

_ODD, _EVEN, _PERIODIC = "odd", "even", "periodic"
_ODD_FUNCTIONS = tuple(
    getattr(sympy, name) for name in ("sin", "tan", "asin", "atan", "sinh", "tanh", "erf", "sign")
)
_EVEN_FUNCTIONS = tuple(getattr(sympy, name) for name in ("cos", "cosh", "sech", "Abs"))
_PLACES = 6  # where an expression in coordinates alone is compared with its mirror image
_TOLERANCE = 1e-9

Parity = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Walled:
    """States on a box with their parities.

    **Arguments:**

    - `system`: the `FirstOrderSystem`.
    - `parities`: for each state `"odd"`, `"even"` or `"periodic"` along each axis.
    - `lower`, `upper`: the box.
    """

    system: Any
    parities: Mapping[str, Parity]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def of(self, expression: Any) -> Parity | None:
        """The parity of an expression, `None` where it has none.

        **Arguments:**

        - `expression`: SymPy, with derivatives as they were written.
        """
        expression = sympy.expand(expression)
        return self._sum([self._of(term) for term in sympy.Add.make_args(expression)])

    def breach(self) -> tuple[str, sympy.Expr, str] | None:
        """A state, a term of its equation that has another parity, and the axis of that."""
        for state, right in zip(self.system.states, self.system.right, strict=True):
            wanted = self.parities[state]
            for term in sympy.Add.make_args(sympy.expand(right)):
                if term == 0:
                    continue
                found = self._of(term)
                for axis, name in enumerate(self.system.space):
                    if found is None or found[axis] != wanted[axis]:
                        return state, term, name
        return None

    def _even(self) -> Parity:
        some = next(iter(self.parities.values()))
        return tuple(_PERIODIC if p == _PERIODIC else _EVEN for p in some)

    def _of(self, node: Any) -> Parity | None:
        jet = jet_of(node, self.system.coordinates)
        if jet is not None:
            return self._jet(*jet)
        functions = node.atoms(sympy.core.function.AppliedUndef, AbstractNonlocal)
        if not functions:
            return self._coordinates(node)
        if isinstance(node, (SpaceIntegral, SpaceMean)):
            return self._integrated(node)
        if isinstance(node, AbstractNonlocal):
            return self.of(node.body) if isinstance(node, FractionalLaplacian) else None
        if isinstance(node, sympy.Derivative):
            counted: Any = node.variable_count
            counts = {s.name: int(n) for s, n in counted}
            return _turned(self.of(node.expr), [counts.get(c, 0) for c in self.system.space])
        if isinstance(node, sympy.Mul):
            return self._product([self._of(a) for a in node.args])
        if isinstance(node, sympy.Add):
            return self.of(node)
        if isinstance(node, sympy.Pow):
            return self._power(node)
        return self._function(node)

    def _jet(self, name: str, orders: tuple[int, ...]) -> Parity | None:
        if name not in self.parities:
            return None
        counts = dict(zip(self.system.coordinates, orders, strict=True))
        return _turned(self.parities[name], [counts[c] for c in self.system.space])

    def _integrated(self, node: Any) -> Parity | None:
        body = self.of(node.body)
        if body is None:
            return None
        even, over = self._even(), node.over
        return tuple(
            even[i] if name in over else body[i] for i, name in enumerate(self.system.space)
        )

    def _sum(self, parts: list[Parity | None]) -> Parity | None:
        return parts[0] if all(p == parts[0] for p in parts) else None

    def _product(self, parts: list[Parity | None]) -> Parity | None:
        total = self._even()
        for part in parts:
            if part is None:
                return None
            total = _turned(total, [p == _ODD for p in part])
        return total

    def _power(self, node: Any) -> Parity | None:
        base, exponent = self._of(node.base), self._of(node.exp)
        even = self._even()
        if base is None or exponent != even:
            return None
        if isinstance(node.exp, sympy.Integer):
            return self._product([base] * (int(node.exp) % 2))
        return base if base == even else None

    def _function(self, node: Any) -> Parity | None:
        parts = [self._of(a) for a in node.args]
        even = self._even()
        if all(p == even for p in parts):
            return even
        if len(parts) != 1 or parts[0] is None:
            return None
        (part,) = parts
        if isinstance(node, _EVEN_FUNCTIONS):
            return even
        return part if isinstance(node, _ODD_FUNCTIONS) else None

    def _coordinates(self, node: Any) -> Parity | None:
        """The parity of an expression without unknowns, by its mirror images."""
        free = sorted(node.free_symbols, key=lambda s: s.name)
        found = list(self._even())
        for axis, name in enumerate(self.system.space):
            if found[axis] == _PERIODIC or not any(s.name == name for s in free):
                continue
            kind = self._mirrored(node, free, axis)
            if kind is None:
                return None
            found[axis] = kind
        return tuple(found)

    def _mirrored(self, node: Any, free: list, axis: int) -> str | None:
        rng, kinds = np.random.default_rng(0), {_ODD, _EVEN}
        low, high = self.lower[axis], self.upper[axis]
        function = sympy.lambdify(free, node, "mpmath")
        for wall in (low, high):
            for _ in range(_PLACES):
                here = {s.name: float(rng.uniform(0.3, 1.7)) for s in free}
                for i, name in enumerate(self.system.space):
                    here[name] = float(rng.uniform(self.lower[i], self.upper[i]))
                there = {**here, self.system.space[axis]: 2 * wall - here[self.system.space[axis]]}
                try:
                    a, b = (complex(function(*(w[s.name] for s in free))) for w in (here, there))
                except (ValueError, ZeroDivisionError, OverflowError):
                    return None
                size = _TOLERANCE * max(abs(a), abs(b), 1e-300)
                kinds -= {_EVEN} if not abs(a - b) <= size else set()
                kinds -= {_ODD} if not abs(a + b) <= size else set()
        return next(iter(kinds), None) if len(kinds) == 1 else None


def _turned(parity: Parity | None, orders: Any) -> Parity | None:
    if parity is None:
        return None
    other = {_ODD: _EVEN, _EVEN: _ODD, _PERIODIC: _PERIODIC}
    return tuple(other[p] if n % 2 else p for p, n in zip(parity, orders, strict=True))
