r"""Vortices that a uniform wind carries unchanged: exact solutions of nonlinear systems.

With the swirl `v(r) = G r exp(-r^2 / (2 R^2))` the centrifugal force `v^2 / r` is balanced
by pressure: `int_r^oo v^2 / r dr = G^2 R^2 exp(-r^2 / R^2) / 2`.
"""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.library.conservation import euler_in_the_plane
from continua.problems.reference import FormulaReference

_HALF = 8.0  # half the box, where the swirl of a vortex of radius 1 has fallen to 1e-13
_BOX = {"x": (-_HALF, _HALF), "y": (-_HALF, _HALF)}
_SOURCE = "carried by the wind; it misses the periodic box by 1e-13"


def _carried(axis: str) -> str:
    """The distance from the centre, which the wind of speed 1 takes around the box once.

    It changes sides a little beyond the wall, lest a node lie where `sign` is 0.
    """
    moved = f"({axis} - t)"
    return f"({moved} + {_HALF!r}*(1 - sign({moved} + {_HALF + 1e-6!r})))"


def _swirl(dx: str, dy: str, strength: float) -> tuple[str, str, str]:
    """Both velocities, and `exp(-r^2 / 2)`."""
    fall = f"exp(-({dx}^2 + {dy}^2)/2)"
    return f"(1 - {strength!r}*{dy}*{fall})", f"(1 + {strength!r}*{dx}*{fall})", fall


def isentropic_vortex(
    *, strength: float = 1.3, gamma: float = 1.4, end: float = 2.0
) -> EquationProblem:
    """A vortex of an ideal gas of uniform entropy, carried along the diagonal.

        T = 1 - (gamma - 1) / (2 gamma) G^2 exp(-r^2),   rho = T^(1 / (gamma - 1)),   p = rho T,

    in the Euler equations for `rho`, momenta `m`, `n`, and energy `E`.

    **Arguments:**

    - `strength`: `G`, 1.3.
    - `gamma`: ratio of specific heats, 1.4.
    - `end`: the last time, 2; after 16 the vortex is back.
    """
    coordinates, unknowns = ("t", "x", "y"), ("rho", "m", "n", "E")

    def state(dx: str, dy: str) -> dict[str, str]:
        u, v, fall = _swirl(dx, dy, strength)
        heat = f"(1 - {(gamma - 1) / (2 * gamma) * strength**2!r}*{fall}^2)"
        rho = f"{heat}^{1 / (gamma - 1)!r}"
        energy = f"{heat}^{gamma / (gamma - 1)!r}/{gamma - 1!r} + {rho}*({u}^2 + {v}^2)/2"
        return dict(zip(unknowns, (rho, f"{rho}*{u}", f"{rho}*{v}", energy), strict=True))

    return EquationProblem(
        name="isentropic_vortex",
        title="Isentropic vortex",
        equation=Equation(euler_in_the_plane(gamma), unknowns, coordinates),
        domain={"t": (0.0, end), **_BOX},
        initial=state("x", "y"),
        boundary=dict.fromkeys("xy", "periodic"),
        num_points={"t": 5, "x": 32, "y": 32},
        reference=FormulaReference(
            state(_carried("x"), _carried("y")), coordinates, {}, 1e-13, _SOURCE
        ),
        citation="shu1998essentially",
        notes="Smooth, with all waves of gas dynamics: the usual test of a scheme's order in "
        "two dimensions.",
    )


def shallow_water_2d(
    *, strength: float = 0.5, gravity: float = 1.0, end: float = 2.0
) -> EquationProblem:
    """A vortex in shallow water over a flat bed, carried along the diagonal.

        h_t + q_x + s_y = 0,   q_t + d(q^2/h + g h^2/2, x) + d(q s/h, y) = 0,
        s_t + d(q s/h, x) + d(s^2/h + g h^2/2, y) = 0,   h = 1 - G^2 / (2 g) exp(-r^2).

    **Arguments:**

    - `strength`: `G`, 0.5; below `sqrt(2 g)`, or the bed falls dry.
    - `gravity`: `g`, 1.
    - `end`: the last time, 2; after 16 the vortex is back.
    """
    coordinates, unknowns = ("t", "x", "y"), ("h", "q", "s")

    def state(dx: str, dy: str) -> dict[str, str]:
        u, v, fall = _swirl(dx, dy, strength)
        h = f"(1 - {strength**2 / (2 * gravity)!r}*{fall}^2)"
        return dict(zip(unknowns, (h, f"{h}*{u}", f"{h}*{v}"), strict=True))

    return EquationProblem(
        name="shallow_water_2d",
        title="Vortex in shallow water",
        equation=Equation(
            (
                "h_t + d(q, x) + d(s, y) = 0",
                f"q_t + d(q^2/h + {gravity!r}*h^2/2, x) + d(q*s/h, y) = 0",
                f"s_t + d(q*s/h, x) + d(s^2/h + {gravity!r}*h^2/2, y) = 0",
            ),
            unknowns,
            coordinates,
        ),
        domain={"t": (0.0, end), **_BOX},
        initial=state("x", "y"),
        boundary=dict.fromkeys("xy", "periodic"),
        num_points={"t": 5, "x": 32, "y": 32},
        reference=FormulaReference(
            state(_carried("x"), _carried("y")), coordinates, {}, 1e-13, _SOURCE
        ),
        citation="toro2001shock",
        notes="Smooth; the wind is as fast as gravity waves of the rest state, so that the flow is "
        "faster in places and slower in others.",
    )
