"""What happens where a condition crosses zero: bounces, switches, impulses."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import sympy

from continua.core.errors import InputError, suggest
from continua.equations import Equation, Scope, parse_expression
from continua.equations.compile import jets_in, replace_jets
from continua.equations.parse import coordinate_symbol, parameter_symbol
from continua.problems.conditions import as_formula


@dataclasses.dataclass(frozen=True)
class EventCondition:
    """Where a condition crosses zero, states of an ordinary equation are given new values.

    **Arguments:**

    - `name`: of the event.
    - `condition`: text in time, states and parameters.
    - `resets`: text of the state after the event, for each state that changes, by name
      (`u`, `u_t`, ...); on the right stand the states before it.
    - `direction`: 1 where the condition rises through zero, -1 where it falls, 0 both.

    **Raises:** `InputError` for another direction.
    """

    name: str
    condition: Any
    resets: Mapping[str, Any]
    direction: int = 0

    def __post_init__(self):
        where = f"events.{self.name}"
        if self.direction not in (-1, 0, 1):
            raise InputError(
                f"got {self.direction!r}",
                where=f"{where}.direction",
                fix="give 1 (rising), -1 (falling) or 0 (both)",
            )
        resets = {s: as_formula(text, f"{where}.resets.{s}") for s, text in self.resets.items()}
        object.__setattr__(self, "resets", resets)
        object.__setattr__(self, "condition", as_formula(self.condition, f"{where}.condition"))


def check_events(
    equation: Equation, states: tuple[str, ...], events: Any
) -> tuple[EventCondition, ...]:
    """Events whose formulas can be read, as a tuple.

    **Arguments:**

    - `equation`: in time, without space where there are events.
    - `states`: names of its states.
    - `events`: what was given.

    **Raises:** `InputError` for the first that does not fit.
    """
    events = tuple(events)
    if events and (equation.time is None or equation.space):
        raise InputError(
            "only an ordinary equation in time has events", where="events", fix="remove them"
        )
    for event in events:
        for name in event.resets:
            if name not in states:
                raise InputError(
                    f"there is no state '{name}'",
                    where=f"events.{event.name}.resets",
                    fix=suggest(name, states),
                )
        event_formulas(equation, states, event)
    return events


def event_formulas(
    equation: Equation, states: tuple[str, ...], event: EventCondition
) -> tuple[list[sympy.Expr], list[sympy.Symbol]]:
    """The condition and every state after the event, and the symbols in them.

    **Arguments:**

    - `equation`, `states`: as `check_events`.
    - `event`: one of them.

    **Returns:** `[condition, *states]` and the symbols of time, states and parameters.

    **Raises:** `InputError` for text outside the grammar and for what is no state.
    """
    coordinates = equation.coordinates
    scope = Scope(coordinates, equation.unknowns, equation.parameters, time=equation.time)
    symbols = {
        (u, (k,)): sympy.Dummy(f"{u}{k}", real=True)
        for u, order in equation.time_orders.items()
        for k in range(order)
    }
    texts = {"condition": event.condition}
    texts |= {f"resets.{s}": event.resets.get(s, s) for s in states}
    found: list[sympy.Expr] = []
    for place, text in texts.items():
        where = f"events.{event.name}.{place}"
        expression = parse_expression(text, scope, where=where)
        if any(jet not in symbols for jet in jets_in(expression, coordinates)):
            raise InputError(
                f"'{text}' holds a derivative that is no state",
                where=where,
                fix=f"use {', '.join(states)}",
            )
        flat: Any = replace_jets(expression, coordinates, symbols)
        found.append(sympy.sympify(flat))
    time = coordinate_symbol(str(equation.time))
    return found, [time, *symbols.values(), *map(parameter_symbol, equation.parameters)]
