r"""Incompressible flow in periodic boxes by velocity and pressure.

    v_t = R(t, x, v, ...) - a grad(p),   div(v) = 0.

The pressure is what keeps the divergence zero, and follows from the velocity, which alone
is stepped:

    v_t = P R,   P = I - k k^T / |k|^2,   p = -i k . R / (a |k|^2).
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import sympy

from continua.core.errors import InputError
from continua.equations.compile import jet_expression, jet_symbols, replace_jets
from continua.equations.parse import parameter_symbol
from continua.equations.symbol import Split, split_system, stepped_right
from continua.equations.system import FirstOrderSystem

_DIVERGENT = 1e-8  # of the size of the velocity's slopes, above which a divergence is real


@dataclasses.dataclass(frozen=True)
class Projection:
    """The equations of the velocity without their pressure, and how that follows.

    **Arguments:**

    - `pressure`: the name of the pressure.
    - `factor`: `a`, SymPy in parameters.
    - `rest`: `R`, a `FirstOrderSystem` in the order of the space coordinates.

    **Reference:** chorin1968numerical
    """

    pressure: str
    factor: Any
    rest: FirstOrderSystem

    @property
    def states(self) -> tuple[str, ...]:
        """The components of the velocity."""
        return self.rest.states

    def project(self, space, v_hat):
        """The part without divergence of coefficients `(d, *Nf)`.

        **Arguments:**

        - `space`: a `FourierSpace`.
        - `v_hat`: coefficients of a vector field.
        """
        waves = _waves(space)
        inverse = _inverse_square(waves)
        along = sum(k * v for k, v in zip(waves, v_hat, strict=True)) * inverse
        return jnp.stack([v - k * along for k, v in zip(waves, v_hat, strict=True)])

    def split(self, space) -> tuple[Any, Any, Split]:
        """Linear symbol and nonlinearity, as `symbol.split` of an equation.

        **Arguments:**

        - `space`: a `FourierSpace`.
        """
        parts = split_system(self.rest)
        others = parts.nonlinear(space)

        def nonlinear(t, y_hat, parameters):
            return self.project(space, others(t, y_hat, parameters))

        return (lambda parameters: parts.symbol(space, parameters)), nonlinear, parts

    def derived(self, space, t, y_hat, parameters):
        """Coefficients of the pressure, of mean zero, from those of the velocity.

        **Arguments:**

        - `space`: a `FourierSpace`.
        - `t`: time.
        - `y_hat`: `(d, *Nf)`.
        - `parameters`: a scalar for each.
        """
        parts, waves = split_system(self.rest), _waves(space)
        right = parts.nonlinear(space)(t, y_hat, parameters)
        along = sum(k * r for k, r in zip(waves, right, strict=True)) * _inverse_square(waves)
        names = list(map(parameter_symbol, self.rest.parameters))
        factor = sympy.lambdify(names, self.factor)(*(parameters[p] for p in self.rest.parameters))
        # i k p = k-part of R / a.
        unit = jnp.asarray(-1j, along.dtype)
        return unit * along / jnp.asarray(factor, along.dtype)

    def semidiscrete(self, space):
        """`rhs(t, y, parameters)` of the velocity `(d, *N)` at the nodes.

        **Arguments:**

        - `space`: a `FourierSpace`.
        """
        return stepped_right(self, space)

    def check_start(self, space, start) -> None:
        """Whether an initial velocity has no divergence.

        **Arguments:**

        - `space`: a `FourierSpace`.
        - `start`: velocity at the nodes `(d, *N)`.

        **Raises:** `InputError` where it has.
        """
        v_hat = space.coefficients(jnp.asarray(start))
        waves = _waves(space)
        divergence = sum(k * v for k, v in zip(waves, v_hat, strict=True))
        slopes = sum(jnp.abs(k * v) for k, v in zip(waves, v_hat, strict=True))
        size = float(jnp.linalg.norm(slopes))
        if float(jnp.linalg.norm(divergence)) > _DIVERGENT * max(size, 1e-300):
            raise InputError(
                "the initial velocity has a divergence, and the equation leaves none",
                where="initial",
                fix="start from a velocity whose divergence is zero, such as curl(...)",
            )


def projection_form(equation) -> Projection | None:
    """An equation of velocity and pressure as a `Projection`, `None` for any other.

    The components come in the order of the space coordinates, the linear parts of their
    equations without pressure are the same (viscosity), and the pressure enters by its
    gradient alone.

    **Arguments:**

    - `equation`: an `Equation`.
    """
    orders, space = equation.time_orders, equation.space
    pressures = [u for u, order in orders.items() if order == 0]
    velocity = [u for u, order in orders.items() if order == 1]
    if len(pressures) != 1 or len(velocity) != len(space) or len(space) not in (2, 3):
        return None
    (pressure,) = pressures
    symbols = jet_symbols(equation.jets)
    flat = [replace_jets(e, equation.coordinates, symbols) for e in equation.expanded]

    def jet(name: str, *along: str) -> sympy.Symbol:
        counts = tuple(along.count(c) for c in equation.coordinates)
        return symbols.get((name, counts), sympy.Dummy(name))

    rates = [jet(u, equation.time) for u in velocity]
    evolution = [e for e in flat if e.has(*rates)]
    constraint = [e for e in flat if not e.has(*rates)]
    divergence: Any = sum(jet(u, c) for u, c in zip(velocity, space, strict=True))
    if len(evolution) != len(velocity) or len(constraint) != 1:
        return None
    first: Any = constraint[0]
    scale = first.coeff(jet(velocity[0], space[0]))
    if not scale.is_number or scale == 0 or sympy.expand(first - scale * divergence) != 0:
        return None
    right: Any = sympy.linsolve(evolution, rates)
    solved = [sympy.expand(e) for e in next(iter(right), ())]
    gradient = [jet(pressure, c) for c in space]
    factors = {-e.coeff(g) for e, g in zip(solved, gradient, strict=False)}
    if len(solved) != len(velocity) or len(factors) != 1 or factors == {sympy.Integer(0)}:
        return None
    (factor,) = factors
    rest = [sympy.expand(e + factor * g) for e, g in zip(solved, gradient, strict=True)]
    held = [s for (name, _), s in symbols.items() if name == pressure]
    constants = {parameter_symbol(p) for p in equation.parameters}
    if any(e.has(*held) for e in rest) or not factor.free_symbols <= constants:
        return None
    back = {symbol: jet_expression(j, equation.coordinates) for j, symbol in symbols.items()}
    system = FirstOrderSystem(
        tuple(velocity),
        tuple(e.xreplace(back) for e in rest),
        equation.coordinates,
        space,
        str(equation.time),
        equation.parameters,
        dict(equation.fields),
    )
    return Projection(pressure, factor, system) if _is_isotropic(system) else None


def _is_isotropic(system: FirstOrderSystem) -> bool:
    """Whether the linear part is the same for every component, so that it keeps the
    divergence zero by itself."""
    parts = split_system(system)
    own = [dict((o, c) for c, o in parts.linear[i][i]) for i in range(len(parts.linear))]
    return parts.is_diagonal and all(one == own[0] for one in own)


def _waves(space) -> list[Any]:
    """`k_i` of each axis on the coefficients, of their type."""
    count = len(space.shape)
    return [-1j * space.symbol(tuple(int(i == a) for i in range(count))) for a in range(count)]


def _inverse_square(waves: list[Any]):
    """`1 / |k|^2`, zero for the mean."""
    square: Any = sum(k**2 for k in waves)
    one = jnp.ones((), square.dtype)
    return jnp.where(square == 0, 0 * one, one / jnp.where(square == 0, one, square))
