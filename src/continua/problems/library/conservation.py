"""Conservation laws: shocks, contacts and fans with solutions in closed form."""

from continua.equations import Equation
from continua.problems.conditions import Condition, Walls
from continua.problems.equation import EquationProblem
from continua.problems.exact_riemann import gas_formulas, water_formulas
from continua.problems.numerical import with_reference
from continua.problems.reference import FormulaReference

_CLOSED = "exact Riemann solution in closed form, its middle state to rounding"


def open_ends(axis: str, unknowns: tuple[str, ...]) -> dict[str, Walls]:
    """No slope of anything on either end, through which waves leave.

    **Arguments:**

    - `axis`: the coordinate.
    - `unknowns`: names.
    """
    conditions = tuple(Condition(u, {1: 1.0}) for u in unknowns)
    return {axis: Walls(conditions, conditions)}


def jump(left: float, right: float, place: float) -> str:
    """Text of a step in `x`, its mean at the jump.

    **Arguments:**

    - `left`, `right`: the values.
    - `place`: of the jump.
    """
    return f"{(left + right) / 2!r} + ({(right - left) / 2!r})*sign(x - {place!r})"


def inviscid_burgers() -> EquationProblem:
    """Burgers' equation without viscosity, `u_t + d(u^2/2, x) = 0`, from a triangle.

    Its right side steepens into a shock at `t = 1`, which then stands at
    `x = sqrt(2 (1 + t)) - 1`.
    """
    coordinates = ("t", "x")
    front = "max(1, sqrt(2*(1 + t)) - 1)"
    return EquationProblem(
        name="inviscid_burgers",
        title="Inviscid Burgers",
        equation=Equation(("u_t + d(u^2/2, x) = 0",), ("u",), coordinates),
        domain={"t": (0.0, 2.0), "x": (-2.0, 2.0)},
        initial={"u": "max(0, 1 - abs(x))"},
        boundary={"x": "periodic"},
        reference=FormulaReference(
            {"u": f"max(0, min((x + 1)/(1 + t), ({front} - x)/max(1 - t, 1e-200)))"},
            coordinates,
            source="characteristics, and the shock that leaves the area under them as it was",
        ),
        citation="leveque2002finite",
        notes="The shock weakens and slows down; its place tells whether a scheme conserves.",
    )


def sod(*, gamma: float = 1.4) -> EquationProblem:
    """Sod's shock tube: the Euler equations of an ideal gas from two states at rest.

        rho_t + m_x = 0,   m_t + d(m^2/rho + p, x) = 0,   E_t + d((E + p) m/rho, x) = 0,
        p = (gamma - 1) (E - m^2 / (2 rho)).

    **Arguments:**

    - `gamma`: ratio of specific heats, 1.4.
    """
    return shock_tube(
        (1.0, 0.0, 1.0),
        (0.125, 0.0, 0.1),
        gamma=gamma,
        name="sod",
        title="Sod's shock tube",
        citation="sod1978survey",
        notes="A fan, a contact and a shock: the contact smears, the shock must not ring.",
    )


def shock_tube(
    left: tuple[float, float, float],
    right: tuple[float, float, float],
    *,
    gamma: float = 1.4,
    end: float = 0.2,
    name: str = "shock_tube",
    title: str = "Shock tube",
    citation: str = "toro2009riemann",
    notes: str = "Positive density and pressure must stay so.",
) -> EquationProblem:
    """The Euler equations from two constant states that meet at `x = 1/2`.

    **Arguments:**

    - `left`, `right`: density, velocity, pressure.
    - `gamma`: ratio of specific heats, 1.4.
    - `end`: of time, 0.2.
    - `name`, `title`, `citation`, `notes`: as of any problem.

    **Raises:** `InputError` where a vacuum opens, or a density or pressure is not positive.
    """
    coordinates, unknowns, place = ("t", "x"), ("rho", "m", "E"), 0.5
    exact = gas_formulas(left, right, gamma, place)
    values = [(r, r * u, p / (gamma - 1) + r * u**2 / 2) for r, u, p in (left, right)]
    return EquationProblem(
        name=name,
        title=title,
        equation=Equation(euler_text(gamma), unknowns, coordinates),
        domain={"t": (0.0, end), "x": (0.0, 1.0)},
        initial={n: jump(a, b, place) for n, a, b in zip(unknowns, *values, strict=True)},
        boundary=open_ends("x", unknowns),
        num_points={"t": 21, "x": 200},
        reference=FormulaReference(
            dict(zip(unknowns, exact, strict=True)), coordinates, {}, 1e-13, _CLOSED
        ),
        citation=citation,
        notes=notes,
    )


def shu_osher() -> EquationProblem:
    """A shock of Mach 3 that runs into waves of density, `rho = 1 + sin(5 x) / 5`.

    There is no closed form; the reference is by finite volumes on fine grids.
    """
    unknowns, gamma, place = ("rho", "m", "E"), 1.4, -4.0
    rho, u, p = 27 / 7, 4 * 35**0.5 / 9, 31 / 3
    behind = f"(1 - sign(x - ({place!r})))/2"
    ahead = f"(1 + sign(x - ({place!r})))/2*(1 + sin(5*x)/5)"
    energy = p / (gamma - 1) + rho * u**2 / 2
    problem = EquationProblem(
        name="shu_osher",
        title="Shock into waves of density",
        equation=Equation(euler_text(gamma), unknowns, ("t", "x")),
        domain={"t": (0.0, 1.8), "x": (-5.0, 5.0)},
        initial={
            "rho": f"{rho!r}*{behind} + {ahead}",
            "m": f"{rho * u!r}*{behind}",
            "E": jump(energy, 1 / (gamma - 1), place),
        },
        boundary=open_ends("x", unknowns),
        # All shocks pass between these nodes: one within a cell of a shock would decide the error.
        num_points={"t": 10, "x": 180},
        citation="shu1989efficient",
        notes="Short waves behind the shock: a limiter that clips extrema loses them. The "
        "nodes of the grid are chosen so that no shock passes within a cell of one.",
    )
    return with_reference(problem)


def quadrants() -> EquationProblem:
    """Four shocks that meet in the plane: configuration 3 of the Riemann problems of gas
    dynamics in two dimensions.

    There is no closed form; the reference is by finite volumes on fine grids.
    """
    unknowns, gamma, place = ("rho", "m", "n", "E"), 1.4, 0.8
    # Density, velocities, pressure in the quadrants: x above and below, y above and below.
    states = {
        "++": (1.5, 0.0, 0.0, 1.5),
        "-+": (0.5323, 1.206, 0.0, 0.3),
        "--": (0.138, 1.206, 1.206, 0.029),
        "+-": (0.5323, 0.0, 1.206, 0.3),
    }
    rows: list[list[str]] = [[], [], [], []]
    for (a, b), (rho, u, v, p) in states.items():
        inside = f"(1 {a} sign(x - {place!r}))*(1 {b} sign(y - {place!r}))/4"
        energy = p / (gamma - 1) + rho * (u**2 + v**2) / 2
        for row, value in zip(rows, (rho, rho * u, rho * v, energy), strict=True):
            row.append(f"{value!r}*{inside}")
    problem = EquationProblem(
        name="quadrants",
        title="Four shocks in the plane",
        equation=Equation(euler_in_the_plane(gamma), unknowns, ("t", "x", "y")),
        domain={"t": (0.0, 0.8), "x": (0.0, 1.0), "y": (0.0, 1.0)},
        initial={name: " + ".join(row) for name, row in zip(unknowns, rows, strict=True)},
        boundary={**open_ends("x", unknowns), **open_ends("y", unknowns)},
        # Self-similar: the last time has the most cells in each wave. Straight shocks lie
        # between nodes there.
        num_points={"t": 2, "x": 32, "y": 32},
        citation="lax1998solution",
        notes="Symmetric in x and y; slip lines roll up as grids get finer, so that no grid errs "
        "by less than a few percent and the reference is hardly better than what it judges.",
    )
    return with_reference(problem)


def euler_in_the_plane(gamma: float) -> tuple[str, str, str, str]:
    """The Euler equations in `t`, `x`, `y` for `rho`, `m`, `n`, `E`.

    **Arguments:**

    - `gamma`: ratio of specific heats.
    """
    pressure = f"({gamma!r} - 1)*(E - (m^2 + n^2)/(2*rho))"
    return (
        "rho_t + d(m, x) + d(n, y) = 0",
        f"m_t + d(m^2/rho + {pressure}, x) + d(m*n/rho, y) = 0",
        f"n_t + d(m*n/rho, x) + d(n^2/rho + {pressure}, y) = 0",
        f"E_t + d((E + {pressure})*m/rho, x) + d((E + {pressure})*n/rho, y) = 0",
    )


def euler_text(gamma: float) -> tuple[str, str, str]:
    """The Euler equations in `t`, `x` for `rho`, `m`, `E`.

    **Arguments:**

    - `gamma`: ratio of specific heats.
    """
    pressure = f"({gamma!r} - 1)*(E - m^2/(2*rho))"
    return (
        "rho_t + d(m, x) = 0",
        f"m_t + d(m^2/rho + {pressure}, x) = 0",
        f"E_t + d((E + {pressure})*m/rho, x) = 0",
    )


def dam_break(*, upstream: float = 2.0, downstream: float = 1.0) -> EquationProblem:
    """A dam that breaks over a wet flat bed: shallow water from two depths at rest.

        h_t + q_x = 0,   q_t + d(q^2/h + g h^2/2, x) = 0,   g = 9.81 m/s^2.

    **Arguments:**

    - `upstream`, `downstream`: depths in metres, 2 and 1.

    **Raises:** `InputError` where a depth is not positive.
    """
    coordinates, unknowns, place, gravity = ("t", "x"), ("h", "q"), 5.0, 9.81
    exact = water_formulas((upstream, 0.0), (downstream, 0.0), gravity, place)
    return EquationProblem(
        name="dam_break",
        title="Dam break over a wet bed",
        equation=Equation(
            ("h_t + d(q, x) = 0", f"q_t + d(q^2/h + {gravity!r}*h^2/2, x) = 0"),
            unknowns,
            coordinates,
        ),
        domain={"t": (0.0, 0.8), "x": (0.0, 10.0)},
        initial={"h": jump(upstream, downstream, place), "q": "0"},
        boundary=open_ends("x", unknowns),
        num_points={"t": 21, "x": 200},
        reference=FormulaReference(
            dict(zip(unknowns, exact, strict=True)), coordinates, {}, 1e-13, _CLOSED
        ),
        citation="stoker1957water",
        units={"t": "s", "x": "m", "h": "m", "q": "m^2/s"},
        notes="A fan runs upstream, a bore downstream.",
    )


def acoustics(*, bulk: float = 1.0, rho: float = 0.25) -> EquationProblem:
    """Sound in a resting medium as a system, `p_t + K u_x = 0`, `u_t + p_x / rho = 0`.

    **Arguments:**

    - `bulk`: modulus of compression `K`, 1.
    - `rho`: density, 0.25; sound travels at `sqrt(K / rho)`, with impedance
      `sqrt(K rho)`.
    """
    coordinates, parameters = ("t", "x"), {"K": bulk, "rho": rho}
    ahead, behind = (f"exp(5*cos(2*pi*(x {s} sqrt(K/rho)*t)) - 5)" for s in "-+")
    return EquationProblem(
        name="acoustics",
        title="Acoustic waves",
        equation=Equation(
            ("p_t + K*u_x = 0", "u_t + p_x/rho = 0"), ("p", "u"), coordinates, tuple(parameters)
        ),
        domain={"t": (0.0, 1.0), "x": (0.0, 1.0)},
        parameters=parameters,
        initial={"p": "exp(5*cos(2*pi*x) - 5)", "u": "0"},
        boundary={"x": "periodic"},
        reference=FormulaReference(
            {"p": f"({ahead} + {behind})/2", "u": f"({ahead} - {behind})/(2*sqrt(K*rho))"},
            coordinates,
            parameters,
        ),
        citation="leveque2002finite",
        notes="A pulse that parts into two: a hyperbolic system in its simplest form.",
    )
