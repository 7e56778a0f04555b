"""What each command takes, as dataclasses that tyro reads."""

import dataclasses
import pathlib
from typing import Annotated, Literal

import tyro
from tyro.conf import Positional, subcommand

from continua.cli.generate import Generate


@dataclasses.dataclass(frozen=True)
class Solve:
    """Solve one problem by one method.

    Options of the method follow its name: `--method PINN --network.width 30`
    (`continua show PINN` lists them).
    """

    problem: Positional[str]
    """A problem of the library, or a file: .toml, .csv or .nc."""
    method: str | None = None
    """Its name; by default the classical method that suits the problem best."""
    seed: int = 0
    """Of everything random."""
    budget: str | None = None
    """Training time without compiling, such as 60s or 2min; by default the method's whole
    plan."""
    precision: Literal["float64", "float32"] | None = None
    """Of all numbers; by default what the method needs."""
    out: pathlib.Path | None = None
    """The run folder; without it nothing is kept."""
    reference: bool = True
    """Whether the error is measured against a reference, which may take a while."""
    json: bool = False
    """Print one JSON object instead of text."""
    overwrite: bool = False
    """Replace what an earlier run left in the run folder."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """Learn the dynamics of measured series in a CSV file (or a .toml with [series])."""

    file: Positional[str]
    """A time column and a column for each variable; gaps and an id column are fine."""
    method: str | None = None
    """Its name; options of the method follow, as in `solve`. By default NeuralODE, for classes
    and numbers of whole series RandomConvolutions, for new series LatentSDE."""
    time: str | None = None
    """The time column; by default found by its name."""
    id: str | None = None
    """The column that tells series apart."""
    split: float | None = None
    """The last time that is learned from; what follows is held out and forecast."""
    task: Literal["forecast", "interpolate", "classify", "regress", "generate"] | None = None
    """What is asked for; by default forecast, classify with --target."""
    target: str | None = None
    """The column with the class (or, to regress, the number) of each series."""
    test: str | None = None
    """The column that says which series are held out: test, true, yes or 1."""
    inputs: str = ""
    """Columns of known inputs, with commas between; known in the future too."""
    statics: str = ""
    """Columns that do not change within a series, with commas between."""
    hide: float | None = None
    """The share of values to hide at random and find again (interpolate)."""
    seed: int = 0
    """Of everything random."""
    budget: str | None = None
    """Training time, such as 60s."""
    precision: Literal["float64", "float32"] | None = None
    """Of all numbers; by default what the method needs."""
    out: pathlib.Path | None = None
    """The run folder; without it nothing is kept."""
    json: bool = False
    """Print one JSON object instead of text."""
    overwrite: bool = False
    """Replace what an earlier run left in the run folder."""


@dataclasses.dataclass(frozen=True)
class Compare:
    """Solve one problem by several methods and say which one to use."""

    problem: Positional[str]
    """A problem of the library, or a file."""
    methods: str = ""
    """Names with commas between; the best classical method and trivial predictors are
    always added."""
    seeds: int = 3
    """Runs of each learned method."""
    budget: str | None = None
    """Training time of each learned method, without compiling (equal time); the limit with
    --target."""
    target: float | None = None
    """Train until this error is reached and record the time (time to reach error)."""
    precision: Literal["float64", "float32"] | None = None
    """Of all numbers; by default what the method needs."""
    out: pathlib.Path | None = None
    """The run folder; by default runs/NAME. Cases that it already holds are kept."""
    ladder: bool = True
    """Whether classical methods are also solved from cheap to dear."""
    json: bool = False
    """Print the records as JSON lines instead of a table."""


@dataclasses.dataclass(frozen=True)
class Bench:
    """Run a benchmark of the source checkout and print its table."""

    name: Positional[str]
    """Its name; `continua list benchmarks` shows them."""
    quick: bool = False
    """Seconds instead of minutes, to see that it works."""
    out: pathlib.Path | None = None
    """Where its records go; benchmarks/records/NAME.jsonl by default, nowhere if quick."""
    json: bool = False
    """Print the records as JSON lines instead of a table."""


@dataclasses.dataclass(frozen=True)
class List:
    """List what there is."""

    what: Positional[Literal["problems", "methods", "benchmarks"]]
    """Which list."""
    json: bool = False
    """Print a JSON list instead of a table."""


@dataclasses.dataclass(frozen=True)
class Show:
    """Show a problem (or a file), or a method with its options."""

    name: Positional[str]
    """Of a problem or method, or a file."""
    picture: pathlib.Path | None = None
    """Where a picture of the problem goes, such as heat.png: of its reference, without one of
    the best classical solution."""


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with a run that was interrupted."""

    run: Positional[pathlib.Path]
    """Its folder."""
    json: bool = False
    """Print JSON instead of text."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Write one self-contained page from the records of runs."""

    runs: Positional[tuple[pathlib.Path, ...]]
    """Their folders."""
    out: pathlib.Path | None = None
    """The page; report.html in the first run by default."""


COMMANDS = {
    Solve: "solve",
    Fit: "fit",
    Compare: "compare",
    Generate: "generate",
    Bench: "bench",
    List: "list",
    Show: "show",
    Resume: "resume",
    Report: "report",
}

Command = (
    Annotated[Solve, subcommand("solve")]
    | Annotated[Fit, subcommand("fit")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Generate, subcommand("generate")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[List, subcommand("list")]
    | Annotated[Show, subcommand("show")]
    | Annotated[Resume, subcommand("resume")]
    | Annotated[Report, subcommand("report")]
)


_DESCRIPTION = (
    "Differential equations by classical and learned methods, compared honestly. "
    "Exit codes: 0 success, 1 did not converge, 2 bad input."
)


def parse(words: list[str]) -> tuple[object, list[str]]:
    """A command from words, and the words that belong to its method.

    **Arguments:**

    - `words`: those after `continua`.

    **Raises:** `SystemExit` with code 2, and a message, for what no command takes.
    """
    takes_method = bool(words) and words[0] in ("solve", "fit")
    if not takes_method:
        return tyro.cli(Command, prog="continua", description=_DESCRIPTION, args=words), []
    command, rest = tyro.cli(
        Command,
        prog="continua",
        description=_DESCRIPTION,
        args=words,
        return_unknown_args=True,
    )
    return command, rest
