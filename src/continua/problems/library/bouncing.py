"""A ball that bounces: an ordinary equation with events."""

from continua.equations import Equation
from continua.problems.equation import EquationProblem
from continua.problems.events import EventCondition
from continua.problems.reference import AnalyticReference


def bouncing_ball(*, height: float = 1.0, restitution: float = 0.8) -> EquationProblem:
    """A ball that falls, `y_tt = -g`, and comes back with a part of its speed.

        y = 0 and y_t < 0:   y_t -> -r y_t.

    **Arguments:**

    - `height`: from which it falls, 1 metre; positive.
    - `restitution`: `r`, 0.8; from 0 to 1.
    """
    parameters = {"g": 9.81, "height": height, "r": restitution}
    return EquationProblem(
        name="bouncing_ball",
        title="Bouncing ball",
        equation=Equation(("y_tt = -g",), ("y",), ("t",), tuple(parameters)),
        domain={"t": (0.0, 3.0)},
        parameters=parameters,
        initial={"y": "height", "y_t": "0"},
        events=(EventCondition("bounce", "y", {"y_t": "-r*y_t"}, -1),),
        num_points={"t": 301},
        reference=AnalyticReference(
            "bouncing_ball", ("t",), parameters, 1e-14, "a parabola between each two bounces"
        ),
        citation="shampine2000event",
        notes="Bounces come faster and faster and pile up at (1 + r)/(1 - r) times that of the "
        "first, at 4.06 s; whoever misses one falls through the floor.",
        units={"t": "s", "y": "m", "g": "m/s^2", "height": "m"},
    )
