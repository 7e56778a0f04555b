r"""Vectors in the text of an equation, and the operators of vector calculus on them.

    grad(f) = (f_x, f_y, ...),   div(v) = v1_x + v2_y + ...,   lap(f) = f_xx + f_yy + ...,
    curl(v) = v2_x - v1_y in the plane, (v3_y - v2_z, v1_z - v3_x, v2_x - v1_y) in space,
    curl(f) = (f_y, -f_x) in the plane.

A divergence is kept as it was written, `d(v1, x) + d(v2, y)`: its fluxes are what finite
volumes and finite elements need.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import sympy

OPERATORS = ("lap", "grad", "div", "curl", "dot", "norm", "vec")


class VectorError(ValueError):
    """Vectors and numbers that do not fit together; the text says how."""


@dataclasses.dataclass(frozen=True)
class Vector:
    """Components in the order of the space coordinates.

    **Arguments:**

    - `parts`: one SymPy expression a component.
    """

    parts: tuple[sympy.Expr, ...]

    def _with(self, other: Any, operation: Callable, name: str) -> "Vector":
        if not isinstance(other, Vector):
            if other == 0:
                other = Vector((sympy.Integer(0),) * len(self.parts))
            else:
                raise VectorError(f"a vector and a number have no {name}")
        if len(other.parts) != len(self.parts):
            raise VectorError(
                f"vectors of {len(self.parts)} and {len(other.parts)} components have no {name}"
            )
        return Vector(tuple(map(operation, self.parts, other.parts)))

    def __add__(self, other: Any) -> "Vector":
        return self._with(other, lambda a, b: a + b, "sum")

    def __sub__(self, other: Any) -> "Vector":
        return self._with(other, lambda a, b: a - b, "difference")

    def __neg__(self) -> "Vector":
        return Vector(tuple(-a for a in self.parts))

    def __mul__(self, other: Any) -> "Vector":
        if isinstance(other, Vector):
            raise VectorError("a product of two vectors is written dot(v, w)")
        return Vector(tuple(a * other for a in self.parts))

    def __truediv__(self, other: Any) -> "Vector":
        if isinstance(other, Vector):
            raise VectorError("nothing can be divided by a vector")
        return Vector(tuple(a / other for a in self.parts))

    is_zero = False  # as every divisor is asked


def combine(operator: str, left: Any, right: Any) -> Any:
    """`left operator right` for numbers and vectors.

    **Arguments:**

    - `operator`: `"+"`, `"-"`, `"*"` or `"/"`.
    - `left`, `right`: SymPy expressions or `Vector`s.

    **Raises:** `VectorError` where they do not fit together.
    """
    if not isinstance(left, Vector) and isinstance(right, Vector):
        if operator == "/":
            raise VectorError("nothing can be divided by a vector")
        if operator == "-":
            return -right + left
        return right + left if operator == "+" else right * left
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    return left * right if operator == "*" else left / right


def operate(name: str, space: tuple[sympy.Symbol, ...], arguments: list[Any]) -> Any:
    """An operator of `OPERATORS`.

    **Arguments:**

    - `name`: its name.
    - `space`: symbols of the space coordinates.
    - `arguments`: what stands in its brackets.

    **Raises:** `VectorError` for arguments that it does not take.
    """
    count = {"vec": len(arguments), "dot": 2}.get(name, 1)
    if len(arguments) != count:
        raise VectorError(f"{name} takes {'two arguments' if count == 2 else 'one argument'}")
    if name == "vec":
        return vector(*arguments)
    if name in ("dot", "norm"):
        product = dot(arguments[0], arguments[-1])
        return product if name == "dot" else sympy.sqrt(product)
    if not space:
        raise VectorError(f"{name} needs a space coordinate")
    operators = {"lap": laplacian, "grad": gradient, "div": divergence, "curl": curl}
    return operators[name](space, arguments[0])


def partial(value: Any, symbol: sympy.Symbol, order: Any = 1) -> Any:
    """A partial derivative, component by component, not carried out.

    **Arguments:**

    - `value`: an expression or a `Vector`.
    - `symbol`: the coordinate; `order`: how often.
    """
    if isinstance(value, Vector):
        return Vector(tuple(partial(a, symbol, order) for a in value.parts))
    return sympy.Derivative(value, (symbol, order))


def gradient(space: tuple[sympy.Symbol, ...], value: Any) -> Vector:
    """`(f_x, f_y, ...)` of a number.

    **Arguments:**

    - `space`: symbols of the space coordinates.
    - `value`: the number.

    **Raises:** `VectorError` for a vector.
    """
    _number("grad", value)
    return Vector(tuple(partial(value, s) for s in space))


def divergence(space: tuple[sympy.Symbol, ...], value: Any) -> sympy.Expr:
    """`v1_x + v2_y + ...` of a vector.

    **Arguments:**

    - `space`: symbols of the space coordinates.
    - `value`: a `Vector` with a component for each.

    **Raises:** `VectorError` for anything else.
    """
    parts = _vector("div", value)
    if len(parts) != len(space):
        raise VectorError(f"div of {len(parts)} components in {len(space)} coordinates")
    return sympy.Add(*(partial(a, s) for a, s in zip(parts, space, strict=True)))


def curl(space: tuple[sympy.Symbol, ...], value: Any) -> Any:
    """The curl in the plane or in space; see the module.

    **Arguments:**

    - `space`: symbols of two or three space coordinates.
    - `value`: a `Vector`; in the plane a number too.

    **Raises:** `VectorError` for anything else.
    """
    if len(space) == 2 and not isinstance(value, Vector):
        return Vector((partial(value, space[1]), -partial(value, space[0])))
    parts = _vector("curl", value)
    if len(parts) != len(space) or len(space) not in (2, 3):
        raise VectorError(f"curl of {len(parts)} components in {len(space)} coordinates")
    if len(space) == 2:
        return partial(parts[1], space[0]) - partial(parts[0], space[1])
    return Vector(
        tuple(
            partial(parts[(i + 2) % 3], space[(i + 1) % 3])
            - partial(parts[(i + 1) % 3], space[(i + 2) % 3])
            for i in range(3)
        )
    )


def laplacian(space: tuple[sympy.Symbol, ...], value: Any) -> Any:
    """The sum of second derivatives, of a vector component by component.

    **Arguments:**

    - `space`: symbols of the space coordinates.
    - `value`: an expression or a `Vector`.
    """
    if isinstance(value, Vector):
        return Vector(tuple(laplacian(space, a) for a in value.parts))
    return sympy.Add(*(partial(value, s, 2) for s in space))


def dot(left: Any, right: Any) -> sympy.Expr:
    """The scalar product of two vectors.

    **Arguments:**

    - `left`, `right`: `Vector`s of one length.

    **Raises:** `VectorError` for anything else.
    """
    a, b = _vector("dot", left), _vector("dot", right)
    if len(a) != len(b):
        raise VectorError(f"dot of {len(a)} and {len(b)} components")
    return sympy.Add(*(x * y for x, y in zip(a, b, strict=True)))


def vector(*parts: Any) -> Vector:
    """A vector of numbers.

    **Arguments:**

    - `parts`: its components.

    **Raises:** `VectorError` for a vector among them.
    """
    for part in parts:
        _number("vec", part)
    return Vector(tuple(parts))


def _vector(name: str, value: Any) -> tuple[sympy.Expr, ...]:
    if not isinstance(value, Vector):
        raise VectorError(f"{name} takes a vector, got a number: write vec(...) or grad(...)")
    return value.parts


def _number(name: str, value: Any) -> None:
    if isinstance(value, Vector):
        raise VectorError(f"{name} takes numbers, got a vector")
