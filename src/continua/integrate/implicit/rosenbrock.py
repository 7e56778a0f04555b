r"""Rosenbrock methods: implicit steps by linear systems alone, without iteration.

    (M/(h gamma) - J) u_i = f(t + c_i h, y + sum_j a_ij u_j) + M sum_j C_ij u_j / h + h d_i f_t
    y_new = y + sum_i b_i u_i,                             J = df/dy,  f_t = df/dt

at `(t, y)`, one matrix for all stages `u_i`; it solves `M dy/dt = f`, and `M = 1` without a
mass matrix. It is the form in which `J` is multiplied by nothing; with
`G = (1/gamma - C)^{-1}` the slopes are `k = G^{-1} u / h` and the weights of the textbooks
`alpha = a G`, `b G`.

**Reference:** hairer1996solving
"""

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from continua.integrate.implicit.linear import AbstractJacobian, Dense, times
from continua.integrate.implicit.mass import split
from continua.integrate.methods import AbstractPair


@dataclasses.dataclass(frozen=True)
class RosenbrockTableau:
    r"""Coefficients of a Rosenbrock method.

    **Arguments:**

    - `gamma`: on the diagonal.
    - `a`, `coupling`: rows of `a_ij` and `C_ij` below the diagonal, the first of them empty.
    - `c`, `d`: nodes, and weights of `df/dt`, one a stage.
    - `b`: weights, one a stage.
    - `error`: `b - b_embedded`, so that `sum_i error_i u_i` estimates the error.
    - `order`, `embedded_order`: of both.
    - `dense`: rows `H` of the polynomial of a step, where there is one of order 4:
      `y(t + s h) = (1-s) y + s y_new + s (1-s) sum_j (H_1j + s H_2j + s^2 H_3j) u_j`.
    """

    gamma: float
    a: tuple[tuple[float, ...], ...]
    coupling: tuple[tuple[float, ...], ...]
    c: tuple[float, ...]
    d: tuple[float, ...]
    b: tuple[float, ...]
    error: tuple[float, ...]
    order: int
    embedded_order: int
    dense: tuple[tuple[float, ...], ...] | None = None


_LAST = (
    -7.502846399306121,
    2.561846144803919,
    -11.627539656261098,
    -0.18268767659942256,
    0.030198172008377946,
)

RODAS5P = RosenbrockTableau(
    gamma=0.21193756319429014,
    a=(
        (),
        (3.0,),
        (2.849394379747939, 0.45842242204463923),
        (-6.954028509809101, 2.489845061869568, -10.358996098473584),
        (2.8029986275628964, 0.5072464736228206, -0.3988312541770524, -0.04721187230404641),
        _LAST,
        (*_LAST, 1.0),
        (*_LAST, 1.0, 1.0),
    ),
    coupling=(
        (),
        (-14.155112264123755,),
        (-17.97296035885952, -2.859693295451294),
        (147.12150275711716, -1.41221402718213, 71.68940251302358),
        (165.43517024871676, -0.4592823456491126, 42.90938336958603, -5.961986721573306),
        (
            24.854864614690072,
            -3.0009227002832186,
            47.4931110020768,
            5.5814197821558125,
            -0.6610691825249471,
        ),
        (
            30.91273214028599,
            -3.1208243349937974,
            77.79954646070892,
            34.28646028294783,
            -19.097331116725623,
            -28.087943162872662,
        ),
        (
            37.80277123390563,
            -3.2571969029072276,
            112.26918849496327,
            66.9347231244047,
            -40.06618937091002,
            -54.66780262877968,
            -9.48861652309627,
        ),
    ),
    c=(
        0.0,
        0.6358126895828704,
        0.4095798393397535,
        0.9769306725060716,
        0.4288403609558664,
        1.0,
        1.0,
        1.0,
    ),
    d=(
        0.21193756319429014,
        -0.42387512638858027,
        -0.3384627126235924,
        1.8046452872882734,
        2.325825639765069,
        0.0,
        0.0,
        0.0,
    ),
    b=(*_LAST, 1.0, 1.0, 1.0),
    error=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    order=5,
    embedded_order=4,
    dense=(
        (
            25.948786856663858,
            -2.5579724845846235,
            10.433815404888879,
            -2.3679251022685204,
            0.524948541321073,
            1.1241088310450404,
            0.4272876194431874,
            -0.17202221070155493,
        ),
        (
            -9.91568850695171,
            -0.9689944594115154,
            3.0438037242978453,
            -24.495224566215796,
            20.176138334709044,
            15.98066361424651,
            -6.789040303419874,
            -6.710236069923372,
        ),
        (
            11.419903575922262,
            2.8879645146136994,
            72.92137995996029,
            80.12511834622643,
            -52.072871366152654,
            -59.78993625266729,
            -0.15582684282751913,
            4.883087185713722,
        ),
    ),
)

RODAS3 = RosenbrockTableau(
    gamma=1 / 2,
    a=((), (0.0,), (2.0, 0.0), (2.0, 0.0, 1.0)),
    coupling=((), (4.0,), (1.0, -1.0), (1.0, -1.0, -8 / 3)),
    c=(0.0, 0.0, 1.0, 1.0),
    d=(1 / 2, 3 / 2, 0.0, 0.0),
    b=(2.0, 0.0, 1.0, 1.0),
    error=(0.0, 0.0, 0.0, 1.0),
    order=3,
    embedded_order=2,
)


class AbstractRosenbrock(AbstractPair):
    """A Rosenbrock method; subclasses state their `tableau` and how `jacobian` is held."""

    tableau: ClassVar[RosenbrockTableau]
    with_mass: ClassVar[bool] = True
    jacobian: AbstractJacobian

    @property
    def dense_order(self):
        """4, or 1 where a step has no polynomial of its own: `f` at its ends is too rough for
        one where an equation is stiff."""
        return 1 if self.tableau.dense is None else 4

    @property
    def evaluations(self):
        """Calls of the right-hand side in a step; derivatives are not counted."""
        return len(self.tableau.b)

    def step(self, field, t, y, slope, dt):
        """One step."""
        tableau = self.tableau
        # A step of no length leaves all as it is, and `1/dt^2` in derivatives is finite.
        dt = jnp.maximum(dt, jnp.finfo(dt.dtype).tiny ** 0.4)
        # Without a slope the index is 2 or higher.
        y = jnp.where(jnp.all(jnp.isfinite(slope)), y, jnp.nan)
        right, mass = split(field, y)
        solve = self.jacobian.solver(right, t, y, 1.0 / (tableau.gamma * dt), mass)
        drift = jax.jvp(lambda t: right(t, y), (t,), (jnp.ones_like(t),))[1]
        known = right is field and tableau.dense is None
        f = slope if known else right(t, y)
        first = solve(f + tableau.d[0] * dt * drift)
        stages = jnp.zeros((len(tableau.b), *y.shape), y.dtype).at[0].set(first)

        def stage(stages, row):
            i, a, coupling, c, d = row
            f = right(t + c * dt, y + a @ stages)
            u = solve(f + d * dt * drift + times(mass, coupling @ stages) / dt)
            return stages.at[i].set(u), None

        # A loop, which compiles faster than all stages in a row.
        stages, _ = jax.lax.scan(stage, stages, self._rows(y.dtype))
        new = y + jnp.asarray(tableau.b, y.dtype) @ stages
        error = jnp.asarray(tableau.error, y.dtype) @ stages
        slope, bend = self._inside(field, t + dt, y, new, dt, stages)
        return new, slope, error, bend

    def _inside(self, field, t, y, new, dt, stages):
        """The slope at the end `t` of a step, and what its Hermite polynomial lacks."""
        if self.tableau.dense is None:
            return field(t, new), None
        h = jnp.asarray(self.tableau.dense, y.dtype) @ stages
        # That of the polynomial: an error in a stiff part of `y` is a large one in `f`.
        return (new - y - jnp.sum(h, axis=0)) / dt, -h[2]

    def _rows(self, dtype):
        """Number, `a_ij`, `C_ij`, `c_i` and `d_i` of all stages but the first."""
        tableau, s = self.tableau, len(self.tableau.b)
        a, coupling = (
            np.array([[*row, *(0.0,) * (s - len(row))] for row in rows[1:]])
            for rows in (tableau.a, tableau.coupling)
        )
        numbers = (jnp.asarray(x, dtype) for x in (a, coupling, tableau.c[1:], tableau.d[1:]))
        return jnp.arange(1, s, dtype=jnp.int32), *numbers


@dataclasses.dataclass(frozen=True)
class Rodas5P(AbstractRosenbrock):
    """The method of Steinebach, orders 5 and 4, L-stable, for stiff equations.

    **Arguments:**

    - `jacobian`: how `df/dy` is held, `Dense()`; see also `Banded` and `MatrixFree`.

    **Reference:** steinebach2023construction
    """

    jacobian: AbstractJacobian = Dense()

    tableau: ClassVar[RosenbrockTableau] = RODAS5P
    reference: ClassVar[str] = "steinebach2023construction"


@dataclasses.dataclass(frozen=True)
class Rodas3(AbstractRosenbrock):
    """The method of Sandu and others, orders 3 and 2, L-stable, for loose tolerances.

    **Arguments:**

    - `jacobian`: how `df/dy` is held, `Dense()`; see also `Banded` and `MatrixFree`.

    **Reference:** sandu1997benchmarking
    """

    jacobian: AbstractJacobian = Dense()

    tableau: ClassVar[RosenbrockTableau] = RODAS3
    reference: ClassVar[str] = "sandu1997benchmarking"
