r"""All rounds of a work, and a record of them for `replay`.

Rounds are recorded in segments: the tape holds the rounds of one segment, and of those
before it are kept the lanes with which they began and what was decided in each round,
from which they are done again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from continua.integrate.lanes import Work, spread_over
from continua.integrate.rounds import ACCEPT, FINISHED, Carry, Rounds, Row
from continua.integrate.trajectory import Found


class Tape(NamedTuple):
    """What was recorded.

    **Arguments:**

    - `rows`: the rounds of the last segment, with room for `r`.
    - `rounds`: how many there are.
    - `starts`: the lanes at the beginning of each segment, and what waited.
    - `decided`: what was decided in each round, `(s, r, w)`.
    - `segments`: how many there are.
    """

    rows: Row
    rounds: Any
    starts: Any
    decided: Any
    segments: Any


def spread(tape: Tape, count: int) -> Tape:
    """A tape whose every part has an entry for each lane, as its last axis."""
    lanes, waiting = tape.starts
    numbers = (tape.rounds, tape.segments, waiting)
    rounds, segments, waiting = (jnp.broadcast_to(x[..., None], (*x.shape, count)) for x in numbers)
    return tape._replace(rounds=rounds, segments=segments, starts=(lanes, waiting))


def gathered(tape: Tape) -> Tape:
    """What was `spread`."""
    lanes, waiting = tape.starts
    starts = (lanes, waiting[..., 0])
    return tape._replace(rounds=tape.rounds[0], segments=tape.segments[0], starts=starts)


def integrate(work: Work, room: int | None = None) -> tuple[Found, Tape | None]:
    """Integrate all trajectories.

    **Arguments:**

    - `work`: what is to be integrated.
    - `room`: for how many steps of a trajectory there is room on the tape; `None` keeps
      none.

    **Returns:** what was found, and the tape.
    """
    rounds = Rounds.of(work, room)
    begin = spread_over(rounds.begin(), work.times, work.args)
    if room is None:
        end = jax.lax.while_loop(lambda c: c.running > 0, lambda c: rounds.round(c)[0], begin)
        tape = None
    else:
        end, tape = recorded(rounds, begin)
    found: Any = end.found
    evaluations = found.evaluations + 2 + work.method.evaluations * (found.steps + found.rejected)
    # Within, saves of one trajectory lie side by side.
    ys = jnp.moveaxis(found.ys, 0, -1)
    return found._replace(ys=ys, evaluations=evaluations), tape


def recorded(rounds: Rounds, begin: Carry) -> tuple[Carry, Tape]:
    """All rounds, and what is needed to go back over them."""
    r, w = rounds.segment, rounds.work.lanes

    def spread(tree):
        return spread_over(tree, begin)

    s = -(-rounds.rounds // r)
    rows = empty(rounds)
    starts = jax.tree.map(lambda x: jnp.zeros((s, *x.shape), x.dtype), (begin.lanes, begin.waiting))

    def row(of):
        c, rows, decided, number = of
        c, row, bits = rounds.round(c)
        rows = jax.tree.map(lambda a, x: a.at[number].set(x), rows, row)
        return c, rows, decided.at[number].set(bits), number + 1

    def segment(of):
        c, tape = of
        at = tape.segments
        starts = jax.tree.map(lambda a, x: a.at[at].set(x), tape.starts, (c.lanes, c.waiting))
        decided = spread(jnp.zeros((r, w), jnp.int8))
        c, rows, decided, number = jax.lax.while_loop(
            lambda of: (of[0].running > 0) & (of[3] < r),
            row,
            (c, tape.rows, decided, spread(jnp.zeros((), jnp.int32))),
        )
        return c, Tape(rows, number, starts, tape.decided.at[at].set(decided), at + 1)

    none = jnp.zeros((), jnp.int32)
    tape = Tape(rows, none, starts, jnp.zeros((s, r, w), jnp.int8), none)
    return jax.lax.while_loop(lambda of: of[0].running > 0, segment, (begin, spread(tape)))


def empty(rounds: Rounds) -> Row:
    """Room for the rows of a segment."""
    w, times = rounds.work.lanes, rounds.work.times
    whole, real = jnp.zeros((rounds.segment, w), jnp.int32), times.t0.dtype
    numbers = jnp.zeros((rounds.segment, w), real)
    ys = jnp.zeros((rounds.segment, times.y0.shape[0], w), times.y0.dtype)
    event = (whole, whole) if rounds.work.directions else ()
    number = whole if rounds.work.history else ()
    return Row(whole, numbers, numbers, ys, ys, whole, whole, event, number)


def again(rounds: Rounds, tape: Tape, segment: Any, rows: Row) -> Row:
    """The rows of a segment that is not the last one.

    Lengths of steps are not the same to the last digit, for the compiler orders
    operations otherwise here; so the last one leads to where the next segment began.
    """
    (lanes, waiting), decided = jax.tree.map(lambda x: x[segment], (tape.starts, tape.decided))
    after = tape.starts[0].t[segment + 1]
    accepted = (decided & ACCEPT) > 0
    last = rounds.segment - 1 - jnp.argmax(accepted[::-1], axis=0)
    goes_on = jnp.take_along_axis(decided, last[None], axis=0)[0] & (ACCEPT | FINISHED)
    goes_on = goes_on == ACCEPT
    running = spread_over(jnp.zeros((), jnp.int32), lanes)

    def row(number, of):
        c, rows = of
        aim = jnp.where(goes_on & (number == last), after, jnp.nan)
        c, row, _ = rounds.round(c, decided[number], aim)
        return c, jax.tree.map(lambda a, x: a.at[number].set(x), rows, row)

    begin = Carry(lanes, waiting, running, None)
    return jax.lax.fori_loop(0, rounds.segment, row, (begin, rows))[1]
