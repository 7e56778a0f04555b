r"""Terms that a place alone does not tell: integrals, means and multipliers of wavenumbers.

    integral(f, x) = int f dx,               mean(f, x) = int f dx / int dx,
    fraclap(f, s)  = (-Laplace)^(s/2) f,     |k|^s of each Fourier coefficient,
    hilbert(f)     = H f,                    -i sign(k), so that H cos = sin.

Without coordinates `integral` and `mean` go over all of space. A view that evaluates an
equation point by point cannot have them.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import sympy

from continua.core.errors import InputError

_Function: Any = sympy.Function


class AbstractNonlocal(_Function):
    """A linear operation on a function of space: its first argument; last come coordinates."""

    is_real = True

    @classmethod
    def eval(cls, *args):
        """The operation on zero."""
        return sympy.Integer(0) if args[0] == 0 else None

    @property
    def body(self) -> Any:
        """What it is taken of."""
        return self.args[0]

    @property
    def over(self) -> tuple[str, ...]:
        """Names of the coordinates that it goes along."""
        return tuple(str(s) for s in self.args[self.fixed :])

    @property
    def fixed(self) -> int:
        """How many arguments come before the coordinates."""
        return 2 if isinstance(self, FractionalLaplacian) else 1

    def _eval_derivative(self, s):
        constant = isinstance(self, (SpaceIntegral, SpaceMean)) and s.name in self.over
        return sympy.Integer(0) if constant else self.func(self.body.diff(s), *self.args[1:])


class SpaceIntegral(AbstractNonlocal):
    """The integral along its coordinates."""


class SpaceMean(AbstractNonlocal):
    """The mean along its coordinates."""


class FractionalLaplacian(AbstractNonlocal):
    """`(-Laplace)^(s/2)`, `s` the second argument."""


class HilbertTransform(AbstractNonlocal):
    """`-i sign(k)`."""


NAMES = {
    SpaceIntegral: "integral",
    SpaceMean: "mean",
    FractionalLaplacian: "fraclap",
    HilbertTransform: "hilbert",
}
MULTIPLIERS = (FractionalLaplacian, HilbertTransform)


class NonlocalError(ValueError):
    """Arguments that a nonlocal term does not take; the text says which."""


def nonlocal_term(name: str, arguments: list, space: tuple[sympy.Symbol, ...]) -> Any:
    """A nonlocal term from its arguments as they were written.

    **Arguments:**

    - `name`: `integral`, `mean`, `fraclap` or `hilbert`.
    - `arguments`: SymPy expressions.
    - `space`: symbols of the space coordinates.

    **Raises:** `NonlocalError` for other arguments.
    """
    if not space:
        raise NonlocalError(f"{name} needs a space coordinate")
    if not arguments or any(not isinstance(a, sympy.Basic) for a in arguments):
        raise NonlocalError(f"{name} takes an expression first, no vector")
    body, *rest = arguments
    if name in ("integral", "mean"):
        if any(a not in space for a in rest) or len(set(rest)) != len(rest):
            raise NonlocalError(f"{name} takes an expression and space coordinates")
        kind = SpaceIntegral if name == "integral" else SpaceMean
        return kind(body, *(rest or space))
    if name == "hilbert":
        if rest or len(space) != 1:
            raise NonlocalError("hilbert takes one expression, in one space coordinate")
        return HilbertTransform(body, *space)
    if (
        len(rest) != 1
        or rest[0].has(sympy.core.function.AppliedUndef)
        or (rest[0].free_symbols & set(space))
    ):
        raise NonlocalError("fraclap takes an expression and a power, a number or parameter")
    if rest[0].is_number and not 0 < float(rest[0]) <= 4:
        raise NonlocalError(f"the power of fraclap must lie in (0, 4], got {float(rest[0]):g}")
    return FractionalLaplacian(body, rest[0], *space)


def is_nonlocal(expression: Any) -> bool:
    """Whether an expression holds a nonlocal term."""
    return isinstance(expression, sympy.Basic) and expression.has(AbstractNonlocal)


def refuse_nonlocal(expressions: Any) -> None:
    """Nothing, where values at a point are enough for all expressions.

    **Arguments:**

    - `expressions`: SymPy expressions.

    **Raises:** `InputError` where one holds a nonlocal term.
    """
    for expression in expressions:
        if is_nonlocal(expression):
            node = next(iter(expression.atoms(AbstractNonlocal)))
            raise InputError(
                f"{NAMES[type(node)]}(...) is nonlocal: it cannot be evaluated at points",
                where="equation.expressions",
                fix="use Spectral on a periodic box, or Chebyshev for integrals and means",
            )


def operation(node: Any, system: Any, exponent: Callable | None) -> Callable:
    """`apply(space, field, parameters)` at the nodes of a space.

    **Arguments:**

    - `node`: the term.
    - `system`: the `FirstOrderSystem` that it is of.
    - `exponent`: the power of `fraclap`, of the parameters by name.
    """
    axes = [system.space.index(name) for name in node.over]
    if isinstance(node, (SpaceIntegral, SpaceMean)):
        whole = isinstance(node, SpaceIntegral)
        return lambda space, field, parameters: _averaged(space, field, axes, whole)

    def apply(space, field, parameters):
        multiplier = multiplier_of(node, space, parameters, exponent)
        return space.to_physical(multiplier * space.coefficients(field))

    return apply


def _averaged(space: Any, field, axes: list[int], whole: bool):
    for axis in axes:
        weights = space.mean_weights(axis)
        if whole:
            weights = weights * (space.upper[axis] - space.lower[axis])
        shape = [-1 if i == axis else 1 for i in range(len(space.shape))]
        weights = jnp.asarray(weights.reshape(shape), field.dtype)
        field = jnp.sum(field * weights, axis=axis, keepdims=True)
    return field


def multiplier_of(node: Any, space: Any, parameters: Mapping[str, Any], exponent: Callable | None):
    """What `fraclap` or `hilbert` multiplies the coefficients of a space by: `(*Nf)`.

    **Arguments:**

    - `node`: the term.
    - `space`: with `laplacian_power` and, for `hilbert`, `hilbert_symbol`.
    - `parameters`: a scalar for each.
    - `exponent`: the power of `fraclap`, of the parameters by name.

    **Raises:** `InputError` for a space without wavenumbers, and `hilbert` between walls.
    """
    name = "hilbert_symbol" if isinstance(node, HilbertTransform) else "laplacian_power"
    if not hasattr(space, name):
        raise InputError(
            f"{NAMES[type(node)]}(...) has no form on a {type(space).__name__}",
            where="equation.expressions",
            fix="use Spectral on a periodic box",
        )
    if exponent is None:
        return space.hilbert_symbol()
    found = space.laplacian_power(exponent(parameters))
    complex_type = jnp.zeros((), complex).dtype
    return found if getattr(space, "is_real", False) else found.astype(complex_type)
