r"""The Navier-Stokes equations in a periodic plane, by vorticity and stream function.

    w_t + psi_y w_x - psi_x w_y = R(t, x, y, w, ...),   psi_xx + psi_yy = -w.

The stream function follows from the vorticity, so that `w` alone is stepped. With the
velocity `u = psi_y`, `v = -psi_x` the transport is

    psi_y w_x - psi_x w_y = (d_xx - d_yy)(u v) + d_xy(v^2 - u^2):

two transforms to the nodes and two back, one less than from any product with `w`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import sympy

from continua.equations.compile import Jet, jet_expression, jet_symbols, replace_jets
from continua.equations.symbol import Split, split_system, stepped_right
from continua.equations.system import FirstOrderSystem


@dataclasses.dataclass(frozen=True)
class Vorticity:
    """Transport of a vorticity by its own flow, and the rest of its equation.

    **Arguments:**

    - `stream`: the name of the stream function.
    - `sign`: `lap(psi) = sign w`; the transport is that of `psi_y w_x - psi_x w_y` for -1,
      and has the other sign for 1.
    - `rest`: the equation of `w` without transport, a `FirstOrderSystem`.

    **Reference:** basdevant1983technical
    """

    stream: str
    sign: int
    rest: FirstOrderSystem

    @property
    def states(self) -> tuple[str, ...]:
        """The vorticity alone."""
        return self.rest.states

    def derived(self, space, t, y_hat, parameters):
        """Coefficients of the stream function from those of the vorticity.

        **Arguments:**

        - `space`: a `FourierSpace`.
        - `t`, `parameters`: of no meaning here.
        - `y_hat`: `(1, *Nf)`.
        """
        return self.stream_function(space, y_hat[0])

    def check_start(self, space, start) -> None:
        """Any vorticity may be the first one.

        **Arguments:**

        - `space`: a `FourierSpace`.
        - `start`: at the nodes `(1, *N)`.
        """

    def stream_function(self, space, w_hat):
        """Coefficients of the stream function, of mean zero.

        **Arguments:**

        - `space`: a `FourierSpace`.
        - `w_hat`: of the vorticity, `(*batch, *Nf)`.
        """
        factor = self.sign * _inverse_laplacian(space)
        return jax.lax.complex(factor * w_hat.real, factor * w_hat.imag)

    def transport(self, space):
        """A function of the coefficients of the vorticity to those of `-(u w_x + v w_y)`,
        products free of aliases.

        **Arguments:**

        - `space`: a `FourierSpace` that keeps two thirds of the wavenumbers.
        """
        # Symbols are real or imaginary, and kept as real numbers: half the products.
        inverse, mask = _inverse_laplacian(space), space.mask()
        along_x, along_y = (space.symbol(o).imag for o in ((1, 0), (0, 1)))
        bend = (space.symbol((0, 2)) - space.symbol((2, 0))).real
        bend, twist = jnp.where(mask, bend, 0.0), jnp.where(mask, -space.symbol((1, 1)).real, 0.0)

        def apply(w_hat):
            u = space.to_physical(_times_i(-along_y * inverse, w_hat))
            v = space.to_physical(_times_i(along_x * inverse, w_hat))
            p, q = space.coefficients(u * v), space.coefficients((v - u) * (v + u))
            return jax.lax.complex(bend * p.real + twist * q.real, bend * p.imag + twist * q.imag)

        return apply

    def split(self, space) -> tuple[Any, Any, Split]:
        """Linear symbol and nonlinearity, as `symbol.split` of an equation.

        **Arguments:**

        - `space`: a `FourierSpace`.
        """
        parts, carried = split_system(self.rest), self.transport(space)
        others = None if parts.is_linear else parts.nonlinear(space)

        def nonlinear(t, y_hat, parameters):
            change = carried(y_hat[0])[None]
            return change if others is None else change + others(t, y_hat, parameters)

        return (lambda parameters: parts.symbol(space, parameters)), nonlinear, parts

    def semidiscrete(self, space):
        """`rhs(t, y, parameters)` of the vorticity `(1, *N)` at the nodes.

        **Arguments:**

        - `space`: a `FourierSpace`.
        """
        return stepped_right(self, space)


def vorticity_form(equation) -> Vorticity | None:
    """An equation of vorticity and stream function as a `Vorticity`, `None` for any other.

    **Arguments:**

    - `equation`: an `Equation`.
    """
    orders = equation.time_orders
    if sorted(orders.values()) != [0, 1] or len(equation.space) != 2:
        return None
    w, psi = sorted(orders, key=lambda u: -orders[u])
    symbols = jet_symbols(equation.jets)
    flat = [replace_jets(e, equation.coordinates, symbols) for e in equation.expanded]
    rate = _jet(symbols, equation, w, equation.time)
    evolution = [e for e in flat if e.has(rate)]
    constraint = [e for e in flat if not e.has(rate)]
    if len(evolution) != 1 or len(constraint) != 1:
        return None
    x, y = equation.space
    sign = _sign(
        constraint[0], *(_jet(symbols, equation, *j) for j in ((psi, x, x), (psi, y, y), (w,)))
    )
    right = sympy.solve(evolution[0], rate)
    if sign is None or len(right) != 1:
        return None
    psi_x, psi_y, w_x, w_y = (_jet(symbols, equation, u, c) for u in (psi, w) for c in (x, y))
    rest = sympy.expand(right[0] - sign * (psi_y * w_x - psi_x * w_y))
    if any(rest.has(symbol) for (name, _), symbol in symbols.items() if name == psi):
        return None
    back = {symbol: jet_expression(jet, equation.coordinates) for jet, symbol in symbols.items()}
    system = FirstOrderSystem(
        (w,),
        (rest.xreplace(back),),
        equation.coordinates,
        equation.space,
        str(equation.time),
        equation.parameters,
        dict(equation.fields),
    )
    return Vorticity(psi, sign, system)


def _jet(symbols: dict[Jet, sympy.Symbol], equation, name: str, *along: str) -> sympy.Symbol:
    """The symbol of a derivative; one that stands for nothing where it does not occur."""
    orders = tuple(along.count(c) for c in equation.coordinates)
    return symbols.get((name, orders), sympy.Dummy(name))


def _sign(constraint, psi_xx, psi_yy, w) -> int | None:
    """The sign of `psi_xx + psi_yy = sign w`, where that is what the constraint says."""
    scale = constraint.coeff(psi_xx)
    if not scale.is_number or scale == 0:
        return None
    for sign in (1, -1):
        if sympy.expand(constraint - scale * (psi_xx + psi_yy - sign * w)) == 0:
            return sign
    return None


def _inverse_laplacian(space):
    """`-1 / k^2`, zero for the mean."""
    laplacian = (space.symbol((2, 0)) + space.symbol((0, 2))).real
    zero = laplacian == 0
    return jnp.where(zero, 0.0, 1.0 / jnp.where(zero, 1.0, laplacian))


def _times_i(factor, z):
    """`i` times a real factor times `z`."""
    return jax.lax.complex(-factor * z.imag, factor * z.real)
