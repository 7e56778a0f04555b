"""Ordinary differential equations of mechanics: pendulums and bodies that attract each other."""

from collections.abc import Iterable

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.numerical import with_reference
from continua.problems.reference import AnalyticReference


def pendulum(*, angle: float = 2.0, omega: float = 1.0) -> EquationProblem:
    """A pendulum that is let go, `u_tt = -omega^2 sin(u)`.

    **Arguments:**

    - `angle`: at the start, 2; below pi.
    - `omega`: angular frequency of small swings, 1.
    """
    parameters = {"angle": angle, "omega": omega}
    return EquationProblem(
        name="pendulum",
        title="Pendulum",
        equation=Equation(("u_tt = -omega^2*sin(u)",), ("u",), ("t",), tuple(parameters)),
        domain={"t": (0.0, 20.0)},
        parameters=parameters,
        initial={"u": "angle", "u_t": "0"},
        reference=AnalyticReference(
            "pendulum", ("t",), parameters, 1e-13, "elliptic functions; 40 digits agree to 1e-13"
        ),
        citation="landau1976mechanics",
        notes="u_t^2/2 - omega^2 cos(u) stays as it is; in closed form by elliptic functions.",
    )


def double_pendulum(*, first: float = 1.0, second: float = -1.0) -> EquationProblem:
    """Two equal masses on two equal massless rods, at angles `a` and `b` to the vertical.

        2 a_tt + b_tt cos(a - b) + b_t^2 sin(a - b) + 2 g sin(a) = 0,
        b_tt + a_tt cos(a - b) - a_t^2 sin(a - b) + g sin(b) = 0,

    with `g` gravity over length.

    **Arguments:**

    - `first`, `second`: the angles at the start, 1 and -1; from about 2 on it is chaotic.
    """
    problem = EquationProblem(
        name="double_pendulum",
        title="Double pendulum",
        equation=Equation(
            (
                "2*a_tt + b_tt*cos(a - b) + b_t^2*sin(a - b) + 2*g*sin(a) = 0",
                "b_tt + a_tt*cos(a - b) - a_t^2*sin(a - b) + g*sin(b) = 0",
            ),
            ("a", "b"),
            ("t",),
            ("g", "first", "second"),
        ),
        domain={"t": (0.0, 10.0)},
        parameters={"g": 9.81, "first": first, "second": second},
        initial={"a": "first", "a_t": "0", "b": "second", "b_t": "0"},
        citation="landau1976mechanics",
        notes="Both accelerations stand in both equations. The energy a_t^2 + b_t^2/2 + "
        "a_t b_t cos(a - b) - 2 g cos(a) - g cos(b) stays as it is.",
        units={"t": "s", "g": "1/s^2", **dict.fromkeys(("a", "b", "first", "second"), "rad")},
    )
    return with_reference(problem)


def kepler(*, eccentricity: float = 0.6) -> EquationProblem:
    """A planet, `r_tt = -r / |r|^3`, from where it is next to the sun; its period is 2 pi.

    **Arguments:**

    - `eccentricity`: of the ellipse, 0.6; from 0 to below 1.
    """
    parameters = {"eccentricity": eccentricity}
    return EquationProblem(
        name="kepler",
        title="Kepler's problem",
        equation=Equation(
            ("x_tt = -x/(x^2 + y^2)^1.5", "y_tt = -y/(x^2 + y^2)^1.5"),
            ("x", "y"),
            ("t",),
            ("eccentricity",),
        ),
        domain={"t": (0.0, 20.0)},
        parameters=parameters,
        initial={
            "x": "1 - eccentricity",
            "x_t": "0",
            "y": "0",
            "y_t": "sqrt((1 + eccentricity)/(1 - eccentricity))",
        },
        reference=AnalyticReference(
            "kepler", ("t",), parameters, 1e-14, "Kepler's equation; 40 digits agree to 1e-15"
        ),
        citation="hairer2006geometric",
        notes="Fast where it is close to the sun. Energy, angular momentum and the direction "
        "of the ellipse stay as they are; in closed form by Kepler's equation.",
    )


def henon_heiles(*, end: float = 100.0) -> EquationProblem:
    """A star in a galaxy, in the potential `(x^2 + y^2)/2 + x^2 y - y^3/3`.

    **Arguments:**

    - `end`: the last time, 100.
    """
    problem = EquationProblem(
        name="henon_heiles",
        title="Hénon-Heiles",
        equation=Equation(("x_tt = -x - 2*x*y", "y_tt = -y - x^2 + y^2"), ("x", "y"), ("t",)),
        domain={"t": (0.0, end)},
        initial={"x": "0", "x_t": "0.49057", "y": "0.1", "y_t": "0"},
        num_points={"t": 501},
        citation="henon1964applicability",
        notes="An energy of 0.125, where regular and chaotic orbits lie side by side.",
    )
    return with_reference(problem)


def figure_eight() -> EquationProblem:
    """Three equal bodies that follow each other on a figure of eight."""
    x, y = 0.97000436, -0.24308753
    u, v = -0.93240737, -0.86473146
    places = ((x, -x, 0.0), (y, -y, 0.0))
    speeds = ((-u / 2, -u / 2, u), (-v / 2, -v / 2, v))
    problem = EquationProblem(
        name="figure_eight",
        title="Three bodies on a figure of eight",
        equation=_attraction([1.0, 1.0, 1.0]),
        domain={"t": (0.0, 6.32591398)},
        initial=_starts(places, speeds),
        citation="chenciner2000remarkable",
        notes="Periodic and stable; the end of the interval is the period. "
        "Energy, momentum and angular momentum stay as they are.",
    )
    return with_reference(problem)


def pleiades() -> EquationProblem:
    """Seven bodies of masses 1 to 7 in a plane."""
    places = ((3, 3, -1, -3, 2, -2, 2), (3, -3, 2, 0, 0, -4, 4))
    speeds = ((0, 0, 0, 0, 0, 1.75, -1.5), (0, 0, 0, -1.25, 1, 0, 0))
    problem = EquationProblem(
        name="pleiades",
        title="Pleiades",
        equation=_attraction([float(m) for m in range(1, 8)]),
        domain={"t": (0.0, 3.0)},
        initial=_starts(places, speeds),
        citation="hairer1993solving",
        notes="Several close encounters, where steps must be short; energy, momentum and "
        "angular momentum stay as they are.",
    )
    return with_reference(problem)


def _attraction(masses: Iterable[float]) -> Equation:
    """`r_i_tt = sum_j m_j (r_j - r_i) / |r_j - r_i|^3` in a plane, for `x1, ..., y1, ...`."""
    bodies = dict(enumerate(masses, 1))

    def acceleration(axis: str, i: int) -> str:
        return " + ".join(
            f"{m}*({axis}{j} - {axis}{i})/((x{j} - x{i})^2 + (y{j} - y{i})^2)^1.5"
            for j, m in bodies.items()
            if j != i
        )

    unknowns = tuple(f"{axis}{i}" for axis in "xy" for i in bodies)
    return Equation(
        tuple(f"{u}_tt = {acceleration(u[0], int(u[1:]))}" for u in unknowns), unknowns, ("t",)
    )


def _starts(places, speeds) -> dict[str, str]:
    """Initial values from two rows, of `x` and `y`, of places and of speeds."""
    found = {}
    for axis, where, fast in zip("xy", places, speeds, strict=True):
        for i, (q, v) in enumerate(zip(where, fast, strict=True), 1):
            found |= {f"{axis}{i}": repr(float(q)), f"{axis}{i}_t": repr(float(v))}
    return found
