"""Incompressible flow in periodic boxes, by vorticity and stream function or by velocity
and pressure."""

import math

import numpy as np

from continua.core.errors import InputError
from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference
from continua.problems.reference import FormulaReference

_SIDE = (0.0, 2 * math.pi)
_SPONGE = 4.0  # the rate at which its middle returns the flow to the stream
_UPSTREAM = 0.3  # of the box, before the cylinder


def _flow(source: str, parameters: dict[str, float], initial: str, end: float, **options):
    """Navier-Stokes on the torus: transport, viscosity and a source of vorticity."""
    equation = Equation(
        (
            f"w_t + psi_y*w_x - psi_x*w_y = nu*w_xx + nu*w_yy{source}",
            "psi_xx + psi_yy = -w",
        ),
        ("w", "psi"),
        ("t", "x", "y"),
        tuple(parameters),
    )
    return EquationProblem(
        equation=equation,
        domain={"t": (0.0, end), "x": _SIDE, "y": _SIDE},
        parameters=parameters,
        initial={"w": initial},
        boundary={"x": "periodic", "y": "periodic"},
        **options,
    )


def taylor_green(*, nu: float = 0.05) -> EquationProblem:
    """The decaying vortices of Taylor and Green, a solution of Navier-Stokes.

        psi = cos(x) cos(y) exp(-2 nu t),   w = 2 psi.

    **Arguments:**

    - `nu`: viscosity, 0.05.
    """
    parameters = {"nu": nu}
    psi = "exp(-2*nu*t)*cos(x)*cos(y)"
    return _flow(
        "",
        parameters,
        "2*cos(x)*cos(y)",
        2.0,
        name="taylor_green",
        title="Taylor-Green vortices",
        num_points={"t": 11, "x": 32, "y": 32},
        reference=FormulaReference({"w": f"2*{psi}", "psi": psi}, ("t", "x", "y"), parameters),
        citation="taylor1937mechanism",
        notes="Transport and pressure balance each other: what is lost is lost to viscosity.",
    )


def decaying_turbulence(*, nu: float = 0.02) -> EquationProblem:
    """Navier-Stokes in two dimensions from vortices of many sizes, left to themselves.

    **Arguments:**

    - `nu`: viscosity, 0.02.
    """
    waves = (
        (1, 2, 0.3, 1.0),
        (3, -1, 1.1, 0.9),
        (2, 3, 2.0, 0.8),
        (4, 1, 0.7, 0.6),
        (1, -4, 4.0, 0.6),
    )
    problem = _flow(
        "",
        {"nu": nu},
        " + ".join(f"{a}*cos({k}*x + ({m})*y + {phase})" for k, m, phase, a in waves),
        2.0,
        name="decaying_turbulence",
        title="Decaying turbulence in two dimensions",
        num_points={"t": 9, "x": 32, "y": 32},
        citation="mcwilliams1984emergence",
        notes="Energy moves to large vortices, enstrophy to thin sheets, where it is lost.",
    )
    return with_reference(problem)


def kolmogorov_flow(*, nu: float = 0.02, drag: float = 0.1) -> EquationProblem:
    """Kolmogorov's flow: Navier-Stokes in two dimensions, pushed by `sin(4 y)` along `x`.

    **Arguments:**

    - `nu`: viscosity, 0.02.
    - `drag`: friction that acts on all scales, 0.1.
    """
    problem = _flow(
        " - drag*w - 4*cos(4*y)",
        {"nu": nu, "drag": drag},
        "cos(x + y + 1) + cos(2*x - y)/2 - cos(4*y)",
        2.0,
        name="kolmogorov_flow",
        title="Kolmogorov flow",
        num_points={"t": 9, "x": 32, "y": 32},
        citation="meshalkin1961investigation",
        notes="Four pairs of jets that break into moving vortices; chaotic in the long run.",
    )
    return with_reference(problem)


def abc_flow(*, nu: float = 0.05) -> EquationProblem:
    """The flow of Arnold, Beltrami and Childress, which decays as it is,

        u = (sin z + cos y, sin x + cos z, sin y + cos x) exp(-nu t),   curl u = u,

    by velocity and pressure in three dimensions.

    **Arguments:**

    - `nu`: viscosity, 0.05.
    """
    velocity, coordinates, parameters = ("u", "v", "w"), ("t", "x", "y", "z"), {"nu": nu}
    shapes = ("sin(z) + cos(y)", "sin(x) + cos(z)", "sin(y) + cos(x)")
    transport = [f"dot(vec(u, v, w), grad({name}))" for name in velocity]
    squares = " + ".join(f"({shape})^2" for shape in shapes)
    exact = {u: f"({shape})*exp(-nu*t)" for u, shape in zip(velocity, shapes, strict=True)}
    exact["p"] = f"(3 - ({squares}))/2*exp(-2*nu*t)"
    return EquationProblem(
        name="abc_flow",
        title="ABC flow",
        equation=Equation(
            (
                f"d(vec(u, v, w), t) + vec({', '.join(transport)})"
                " = nu*lap(vec(u, v, w)) - grad(p)",
                "div(vec(u, v, w)) = 0",
            ),
            (*velocity, "p"),
            coordinates,
            tuple(parameters),
        ),
        domain={"t": (0.0, 1.0), "x": _SIDE, "y": _SIDE, "z": _SIDE},
        parameters=parameters,
        initial=dict(zip(velocity, shapes, strict=True)),
        boundary=dict.fromkeys("xyz", "periodic"),
        means={"p": 0.0},
        num_points={"t": 6, "x": 16, "y": 16, "z": 16},
        reference=FormulaReference(exact, coordinates, parameters),
        citation="dombre1986chaotic",
        notes="Streamlines are chaotic though the flow is simple; pressure balances transport.",
    )


def cylinder_wake(
    *, reynolds: float = 100.0, eta: float = 0.02, size: float = 16.0, end: float = 10.0
) -> EquationProblem:
    r"""The vortex street behind a cylinder as an immersed boundary: the Navier-Stokes
    equations with a resistance where the cylinder is,

        v_t + (v . grad) v = nu lap(v) - grad(p) - chi/eta v - sigma (v - e_x),   div v = 0,

    with `chi = exp(-r^2/a^2)` around the origin and a sponge `sigma` at the ends of the periodic
    box, which gives the flow back its speed of 1. The radius `a` is such that a shear flow
    would come to rest at `r = 1/2`: the cylinder has a diameter of 1.

    The street sheds with a Strouhal number of 0.18, and the drag coefficient, twice
    `int chi/eta u`, is 1.7; wider boxes come closer to the 0.165 and 1.35 of a cylinder alone.

    **Arguments:**

    - `reynolds`: `1/nu`, 100; vortices are shed above 47.
    - `eta`: the resistance of the cylinder is `1/eta`, 0.02; explicit steps need less than it.
    - `size`: the side of the box in diameters, 16.
    - `end`: the last time, 10, in which the first vortices are shed; a pair takes 5.5.

    **Raises:** `InputError` where one of them is not positive or the box too small.

    **Reference:** angot1999penalization
    """
    for name, value in (("reynolds", reynolds), ("eta", eta), ("end", end)):
        if not value > 0:
            raise InputError(
                f"got {value:g}", where=f"cylinder_wake.{name}", fix="give a number above zero"
            )
    if not size >= 8:
        raise InputError(f"got {size:g}", where="cylinder_wake.size", fix="8 diameters at least")
    velocity, coordinates = ("u", "v"), ("t", "x", "y")
    low = -_UPSTREAM * size
    resistance = f"exp(-(x^2 + y^2)/{_obstacle(eta, 1 / reynolds) ** 2!r})/eta"
    # One in the middle, with the width of the cylinder as its standard deviation.
    waves = (size / (2 * math.pi)) ** 2
    sponge = f"{_SPONGE!r}*exp({waves!r}*(cos(2*pi*(x - ({low!r}))/{size!r}) - 1))"
    transport = ", ".join(f"dot(vec(u, v), grad({name}))" for name in velocity)
    problem = EquationProblem(
        name="cylinder_wake",
        title="Wake of a cylinder",
        equation=Equation(
            (
                f"d(vec(u, v), t) + vec({transport}) = nu*lap(vec(u, v)) - grad(p)"
                f" - {resistance}*vec(u, v) - {sponge}*vec(u - 1, v)",
                "div(vec(u, v)) = 0",
            ),
            (*velocity, "p"),
            coordinates,
            ("nu", "eta"),
        ),
        domain={"t": (0.0, end), "x": (low, low + size), "y": (-size / 2, size / 2)},
        parameters={"nu": 1 / reynolds, "eta": eta},
        # A gust across the wake, lest it wait for rounding to break its symmetry.
        initial={"u": "1", "v": "3/10*exp(-(x - 1)^2)"},
        boundary=dict.fromkeys("xy", "periodic"),
        means={"p": 0.0},
        # Four explicit steps from one time to the next are stable, `dt < 2.8 eta`.
        num_points={"t": 1 + math.ceil(end / (10 * eta)), "x": 32, "y": 32},
        citation="angot1999penalization",
        notes="Within the cylinder the flow all but rests; the layer around it is thinner than "
        "anything else and sets how many waves are needed.",
    )
    return with_reference(problem)


def _obstacle(eta: float, nu: float) -> float:
    """The `a` with which a shear flow `nu u'' = exp(-s^2/a^2) u/eta` seems to rest at 1/2.

    `g = u/u'` obeys `g' = 1 - exp(-s^2/a^2) g^2/(eta nu)`, and outside `g = s - 1/2`.
    """
    nodes, step = np.linspace(0.0, 1.5, 1501, retstep=True)

    def rest(a: float) -> float:
        middle = np.exp(-(((nodes[:-1] + step / 2) / a) ** 2)) / (eta * nu)
        g = math.sqrt(eta * nu)
        for k in middle:
            # Exact where the resistance is constant.
            root = math.sqrt(k)
            gained = math.tanh(root * step)
            g = (g + gained / root) / (1 + g * root * gained)
        return float(nodes[-1] - g)

    lower, upper = 0.02, 0.5
    for _ in range(30):
        middle = (lower + upper) / 2
        lower, upper = (middle, upper) if rest(middle) < 0.5 else (lower, middle)
    return round((lower + upper) / 2, 6)
