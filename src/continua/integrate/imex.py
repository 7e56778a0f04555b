r"""Implicit-explicit Runge-Kutta methods: the stiff part of a `Split` implicitly.

With `f` the explicit and `g` the implicit part,

    Y_i = y + h sum_{j<i} a_ij f(t + c_j h, Y_j) + h sum_{j<=i} A_ij g(t + c_j h, Y_j)
    y_new = y + h sum_i b_i f(t + c_i h, Y_i) + h sum_i B_i g(t + c_i h, Y_i).

The first stage is `y`; all others have the same `A_ii`, so that one matrix serves them.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.integrate import newton
from continua.integrate.fields import Split
from continua.integrate.methods import AbstractPair


@dataclasses.dataclass(frozen=True)
class ImexTableau:
    """Coefficients of an implicit-explicit pair with the same nodes.

    **Arguments:**

    - `a`: rows of the explicit part below the diagonal, the first of them empty.
    - `a_implicit`: rows of the implicit part below the diagonal, likewise.
    - `diagonal`: `A_ii` of all stages but the first.
    - `b`, `b_implicit`: weights, one a stage.
    - `c`: nodes, one a stage.
    - `order`: of the pair.
    - `error`: `b` less its embedded weights, which both parts have in common; `None`
      where there is no embedded method.
    - `embedded_order`: of the embedded weights.
    """

    a: tuple[tuple[float, ...], ...]
    a_implicit: tuple[tuple[float, ...], ...]
    diagonal: float
    b: tuple[float, ...]
    b_implicit: tuple[float, ...]
    c: tuple[float, ...]
    order: int
    error: tuple[float, ...] | None = None
    embedded_order: int = 0

    def rows(self, dtype: Any) -> tuple[Any, Any, Any]:
        """For each stage but the first: its number, the weights of those before it in
        both parts, `(2, s)`, and its node."""
        stages = len(self.b)
        weights = np.zeros((stages, 2, stages))
        for i, rows in enumerate(zip(self.a, self.a_implicit, strict=True)):
            weights[i, :, :i] = rows
        nodes = np.asarray(self.c)
        return (
            jnp.arange(1, stages),
            jnp.asarray(weights[1:], dtype),
            jnp.asarray(nodes[1:], dtype),
        )


IMEX_EULER = ImexTableau(
    a=((), (1.0,)),
    a_implicit=((), (0.0,)),
    diagonal=1.0,
    b=(1.0, 0.0),
    b_implicit=(0.0, 1.0),
    c=(0.0, 1.0),
    order=1,
)

_GAMMA = 1 - 2**0.5 / 2
_DELTA = 1 - 1 / (2 * _GAMMA)

ARS222 = ImexTableau(
    a=((), (_GAMMA,), (_DELTA, 1 - _DELTA)),
    a_implicit=((), (0.0,), (0.0, 1 - _GAMMA)),
    diagonal=_GAMMA,
    b=(_DELTA, 1 - _DELTA, 0.0),
    b_implicit=(0.0, 1 - _GAMMA, _GAMMA),
    c=(0.0, _GAMMA, 1.0),
    order=2,
)

ARS443 = ImexTableau(
    a=((), (1 / 2,), (11 / 18, 1 / 18), (5 / 6, -5 / 6, 1 / 2), (1 / 4, 7 / 4, 3 / 4, -7 / 4)),
    a_implicit=((), (0.0,), (0.0, 1 / 6), (0.0, -1 / 2, 1 / 2), (0.0, 3 / 2, -3 / 2, 1 / 2)),
    diagonal=1 / 2,
    b=(1 / 4, 7 / 4, 3 / 4, -7 / 4, 0.0),
    b_implicit=(0.0, 3 / 2, -3 / 2, 1 / 2, 1 / 2),
    c=(0.0, 1 / 2, 2 / 3, 1 / 2, 1.0),
    order=3,
)

_B = (82889 / 524892, 0.0, 15625 / 83664, 69875 / 102672, -2260 / 8211, 1 / 4)
_EMBEDDED = (
    4586570599 / 29645900160,
    0.0,
    178811875 / 945068544,
    814220225 / 1159782912,
    -3700637 / 11593932,
    61727 / 225920,
)

KENCARP4 = ImexTableau(
    a=(
        (),
        (1 / 2,),
        (13861 / 62500, 6889 / 62500),
        (
            -116923316275 / 2393684061468,
            -2731218467317 / 15368042101831,
            9408046702089 / 11113171139209,
        ),
        (
            -451086348788 / 2902428689909,
            -2682348792572 / 7519795681897,
            12662868775082 / 11960479115383,
            3355817975965 / 11060851509271,
        ),
        (
            647845179188 / 3216320057751,
            73281519250 / 8382639484533,
            552539513391 / 3454668386233,
            3354512671639 / 8306763924573,
            4040 / 17871,
        ),
    ),
    a_implicit=(
        (),
        (1 / 4,),
        (8611 / 62500, -1743 / 31250),
        (5012029 / 34652500, -654441 / 2922500, 174375 / 388108),
        (
            15267082809 / 155376265600,
            -71443401 / 120774400,
            730878875 / 902184768,
            2285395 / 8070912,
        ),
        _B[:-1],
    ),
    diagonal=1 / 4,
    b=_B,
    b_implicit=_B,
    c=(0.0, 1 / 2, 83 / 250, 31 / 50, 17 / 20, 1.0),
    order=4,
    error=tuple(b - e for b, e in zip(_B, _EMBEDDED, strict=True)),
    embedded_order=3,
)


class AbstractImex(AbstractPair):
    """An implicit-explicit method for small systems; subclasses state its `tableau`.

    A step takes the dense derivative of the implicit part where it begins, once, and
    iterates on each stage; evaluations count a stage once. Where a stage is not solved,
    a fixed step ends the solve and an adaptive one is taken again, shorter.
    """

    takes: ClassVar = Split
    tableau: ClassVar[ImexTableau]
    dense_order: ClassVar[int] = 3

    @property
    def evaluations(self):
        """Calls of both parts in a step."""
        return len(self.tableau.b) + 1

    def step(self, field, t, y, slope, dt):
        """One step."""
        tableau, c = self.tableau, self.tableau.diagonal * dt
        factors = newton.factored(field.implicit, t, y, c)
        first = field.explicit(t, y)

        def stage(slopes, row):
            i, weights, node = row
            s, known = t + node * dt, y + dt * _weighed(weights, slopes)
            z = newton.stage(field.implicit, s, known, c, factors)
            # Of a stiff part this is more exact than its value; a step of 0 needs neither.
            both = field.explicit(s, known + z), z / jnp.where(c == 0, 1.0, c)
            return slopes.at[:, i].set(jnp.stack(both)), None

        # One loop over the stages, so that one of them is compiled.
        slopes = jnp.zeros((2, len(tableau.b), *y.shape), y.dtype)
        slopes = slopes.at[:, 0].set(jnp.stack([first, slope - first]))
        slopes, _ = jax.lax.scan(stage, slopes, tableau.rows(t.dtype))
        new = y + dt * _weighed(jnp.asarray((tableau.b, tableau.b_implicit), t.dtype), slopes)
        error = None
        if tableau.error is not None:
            error = dt * _weighed(jnp.asarray((tableau.error,) * 2, t.dtype), slopes)
        return new, field(t + dt, new), error, None


def _weighed(weights: Any, slopes: Any) -> Any:
    """Sums over both parts and all stages."""
    return jnp.einsum("ps,psn->n", weights, slopes, precision="highest")


@dataclasses.dataclass(frozen=True)
class ImexEuler(AbstractImex):
    """Euler's methods, explicit and implicit, order 1, fixed steps.

    **Reference:** ascher1997implicit
    """

    tableau: ClassVar = IMEX_EULER
    reference: ClassVar[str] = "ascher1997implicit"


@dataclasses.dataclass(frozen=True)
class Ars222(AbstractImex):
    """ARS(2,2,2) of Ascher, Ruuth and Spiteri, order 2, L-stable, fixed steps.

    **Reference:** ascher1997implicit
    """

    tableau: ClassVar = ARS222
    reference: ClassVar[str] = "ascher1997implicit"


@dataclasses.dataclass(frozen=True)
class Ars443(AbstractImex):
    """ARS(4,4,3) of Ascher, Ruuth and Spiteri, order 3, L-stable, fixed steps.

    **Reference:** ascher1997implicit
    """

    tableau: ClassVar = ARS443
    reference: ClassVar[str] = "ascher1997implicit"


@dataclasses.dataclass(frozen=True)
class KenCarp4(AbstractImex):
    """ARK4(3)6L[2]SA of Kennedy and Carpenter, orders 4 and 3, L-stable.

    **Reference:** kennedy2003additive
    """

    tableau: ClassVar = KENCARP4
    reference: ClassVar[str] = "kennedy2003additive"
