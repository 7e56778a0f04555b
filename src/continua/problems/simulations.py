"""Files of simulations as families: from the first states to later ones.

What is common to all layouts: a reader says where the fields lie, and the channels of inputs
and outputs follow.
"""

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from continua.core.errors import InputError, suggest
from continua.problems.family import FamilyData, FamilyProblem
from continua.problems.stored import Channel, StoredArray, mark_of

Index = tuple[int | str, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the fields of a file lie.

    **Arguments:**

    - `path`: of the file.
    - `count`: its samples; `groups`: of them, where each has its own.
    - `axes`: nodes of each space axis; `periodic`: names of those that are.
    - `times`: of the states; a single one is a steady answer to the fixed fields.
    - `moving`: fields by name: dataset, and what each of its axes is: `"sample"`,
      `"time"`, a component, or the name of a space axis.
    - `fixed`: those that do not change in time.
    - `notes`: what a user should know.
    """

    path: pathlib.Path
    count: int
    axes: Mapping[str, np.ndarray]
    periodic: tuple[str, ...]
    times: np.ndarray
    moving: Mapping[str, tuple[str, Index]]
    fixed: Mapping[str, tuple[str, Index]] = dataclasses.field(default_factory=dict)
    groups: tuple[str, ...] = ()
    notes: str = ""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What is taken from a file of simulations.

    **Arguments:**

    - `fields`: names of those that are learned; all that change by default.
    - `history`: first states that are inputs, 1.
    - `every`: each so-many-th node of an axis, 1.
    - `every_time`: each so-many-th time, 1.
    - `frames`: later times that are outputs, all by default.
    - `num_test`: samples at the end that are for testing; a tenth by default.
    """

    fields: tuple[str, ...] = ()
    history: int = 1
    every: int = 1
    every_time: int = 1
    frames: int | None = None
    num_test: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "fields", tuple(self.fields))
        for name in ("history", "every", "every_time"):
            if getattr(self, name) < 1:
                raise InputError(f"got {getattr(self, name)}, expected 1 or more", where=name)
        if self.frames is not None and self.frames < 1:
            raise InputError(f"got {self.frames}, expected 1 or more", where="frames")


def family_of(layout: Layout, choice: Choice, test: Layout | None = None) -> FamilyProblem:
    """The family of a file; its functions are read when they are asked for.

    **Arguments:**

    - `layout`: of the file.
    - `choice`: what is taken.
    - `test`: of another file, whose samples are those for testing.

    **Raises:** `InputError` where the file has no such fields, times or samples, or its
    first sample is bad.
    """
    if test is None:
        a, u, names = _arrays(layout, choice)
        held = _held_out(layout, choice.num_test)
        rest = layout.count - held
        cut = ((0, rest), (rest, layout.count))
        train, end = ((a.part(*rows), u.part(*rows)) for rows in cut)
    else:
        a, u, names = _arrays(layout, choice)
        b, v, others = _arrays(test, choice)
        if (others, b.shape[1:], v.shape[1:]) != (names, a.shape[1:], u.shape[1:]):
            raise InputError(
                f"differs from {layout.path.name} in its fields, grid or times",
                where=test.path.name,
            )
        train, end = (a, u), (b, v)
    for array in (*train, *end):
        _ = array[:1]  # names what is bad before anything is compiled
    inputs, outputs, times = names
    domain, boundary = {}, {}
    for name, nodes in layout.axes.items():
        step = nodes[1] - nodes[0]
        kept = nodes[:: choice.every]
        periodic = name in layout.periodic
        if periodic and len(nodes) % choice.every:
            raise InputError(
                f"{len(nodes)} nodes of the periodic axis '{name}' cannot be thinned evenly",
                where="every",
                fix="choose a divisor",
            )
        boundary[name] = "periodic" if periodic else "walls"
        end_of = kept[-1] + (step * choice.every if periodic else 0.0)
        domain[name] = (float(kept[0]), float(end_of))
    return FamilyProblem(
        name=layout.path.stem,
        title=layout.path.stem,
        domain=domain,
        boundary=boundary,
        space=tuple(layout.axes),
        inputs=inputs,
        outputs=outputs,
        times=times,
        num_points=a.shape[2],
        stored=FamilyData(train, end),
        notes=layout.notes,
    )


def _held_out(layout: Layout, num_test: int | None) -> int:
    test = max(1, layout.count // 10) if num_test is None else num_test
    if not 1 <= test < layout.count:
        raise InputError(
            f"{test} of {layout.count} samples cannot be for testing",
            where=layout.path.name,
            fix="add samples, or name a file with those for testing",
        )
    return test


def _arrays(layout: Layout, choice: Choice):
    """Inputs, outputs, and their names with the times."""
    for name in choice.fields:
        if name not in layout.moving:
            raise InputError(
                f"no field '{name}' that changes in time",
                where=layout.path.name,
                fix=suggest(name, layout.moving),
            )
    fields = choice.fields or tuple(layout.moving)
    if not fields:
        raise InputError("no field changes in time", where=layout.path.name)
    if len(layout.times) == 1:
        before, later = (), (0,)
    else:
        kept = tuple(range(0, len(layout.times), choice.every_time))
        before, later = kept[: choice.history], kept[choice.history :][: choice.frames]
    if not later or not (before or layout.fixed):
        raise InputError(
            f"{len(layout.times)} times leave no later one to learn",
            where=layout.path.name,
            fix="take fewer times of history, or thin the times out less",
        )
    held = [(name, _at(*layout.fixed[name])) for name in layout.fixed]
    early = [(_named(n, i, before, 0), _at(*layout.moving[n], t))
             for i, t in enumerate(before) for n in fields]  # fmt: skip
    late = [(_named(n, i, later, 1), _at(*layout.moving[n], t))
            for i, t in enumerate(later) for n in fields]  # fmt: skip
    arrays = [_array(layout, choice, [c for _, c in rows]) for rows in ([*early, *held], late)]
    first = layout.times[before[-1]] if before else layout.times[0]
    times = (float(first), *(float(layout.times[t]) for t in later)) if before else ()
    return *arrays, (tuple(n for n, _ in (*early, *held)), tuple(n for n, _ in late), times)


def _named(name: str, number: int, all_of: tuple[int, ...], first: int) -> str:
    return name if len(all_of) == 1 else f"{name}_{number + first}"


def _at(path: str, index: Index, time: int = 0) -> Channel:
    return Channel(path, tuple(time if part == "time" else part for part in index))


def _array(layout: Layout, choice: Choice, channels: list[Channel]) -> StoredArray:
    mark = mark_of(layout.path)
    return StoredArray(
        file=str(layout.path.resolve()),
        mark=mark,
        content=mark,
        channels=tuple(channels),
        space=tuple(layout.axes),
        nodes=tuple(len(nodes) for nodes in layout.axes.values()),
        every=(choice.every,) * len(layout.axes),
        start=0,
        stop=layout.count,
        groups=layout.groups,
    )


def uniform(path: pathlib.Path, name: str, nodes: np.ndarray) -> np.ndarray:
    """Nodes of an axis, which increase evenly up to the rounding of single precision.

    **Arguments:**

    - `path`, `name`: of the file and the axis, for errors.
    - `nodes`: `(N,)`.

    **Raises:** `InputError` where they do not, and for fewer than two.
    """
    nodes = np.asarray(nodes)
    rounding = 4 * np.finfo(nodes.dtype if nodes.dtype.kind == "f" else np.float64).eps
    nodes = nodes.astype(float)
    if nodes.ndim != 1 or len(nodes) < 2:
        raise InputError(
            f"the axis '{name}' has the shape {nodes.shape}, expected two nodes or more",
            where=path.name,
        )
    even = np.linspace(nodes[0], nodes[-1], len(nodes))
    allowed = 1e-3 * (even[1] - even[0]) + rounding * np.abs(nodes).max()
    if not nodes[-1] > nodes[0] or not np.all(np.abs(nodes - even) <= allowed):
        raise InputError(
            f"the axis '{name}' is not uniform",
            where=path.name,
            fix="interpolate the functions to a uniform grid first",
        )
    return even


def expect_shape(
    path: pathlib.Path, name: str, shape: tuple[int, ...], wanted: Mapping[str, int | None]
) -> None:
    """Check the shape of a dataset.

    **Arguments:**

    - `path`, `name`: of the file and the dataset, for errors.
    - `shape`: that it has.
    - `wanted`: the length of each axis by its name, `None` for any.

    **Raises:** `InputError` where they differ.
    """
    fits = len(shape) == len(wanted) and all(
        want is None or have == want for have, want in zip(shape, wanted.values(), strict=True)
    )
    if not fits:
        told = ", ".join(n if want is None else f"{n} = {want}" for n, want in wanted.items())
        raise InputError(
            f"'{name}' has the shape {tuple(shape)}, expected ({told})", where=path.name
        )
