"""`continua generate`: many functions of a family into a folder."""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator
from typing import Literal

from tyro.conf import Positional


@dataclasses.dataclass(frozen=True)
class Generate:
    """Solve many functions of a family, or from initial states like that of a problem, and
    keep them in a folder.

    The same request is found again; one that was interrupted goes on.
    """

    problem: Positional[str]
    """A family or periodic problem of the library, or a .toml file."""
    samples: int
    """How many functions."""
    out: pathlib.Path
    """The folder in which that of the data set is made."""
    precision: Literal["float64", "float32"] = "float64"
    """Of solves and data."""
    seed: int | None = None
    """Of the draws; by default that of the family."""
    batch: int | None = None
    """Functions solved at once; by default what fits in 64 MiB."""
    json: bool = False
    """Print one JSON object instead of text."""


def make_dataset(command: Generate) -> int:
    """Make or find a data set, and tell about it.

    **Arguments:**

    - `command`: what was typed.

    **Returns:** the exit code.

    **Raises:** `InputError` for bad input.
    """
    # JAX comes with these; help and spelling mistakes must not wait for it.
    from continua.cli.find import find
    from continua.problems.dataset import generate

    problem = find(command.problem)
    with _progress(command.samples, silent=command.json) as tell:
        made = generate(
            problem,
            command.samples,
            out=command.out,
            precision=command.precision,
            batch=command.batch,
            seed=command.seed,
            on_progress=tell,
        )
    _tell(made, as_json=command.json)
    return 0


def _tell(made, *, as_json: bool) -> None:
    from continua.cli.terminal import console, emit

    manifest = made.manifest
    size = (made.folder / "data.h5").stat().st_size
    seconds, compiling = manifest["seconds"], manifest["seconds_compile"]
    rate = manifest["num_samples"] / max(seconds - compiling, 1e-9)
    if as_json:
        told = {
            "folder": str(made.folder),
            "num_samples": manifest["num_samples"],
            "computed": made.computed,
            "bytes": size,
            "samples_per_second": rate,
            "estimated_error": manifest["estimated_error"],
            "seconds": seconds,
            "seconds_compile": compiling,
        }
        emit(json.dumps(told))
        return
    resolution = manifest["resolution"]
    nodes = " x ".join(map(str, resolution["nodes"]))
    lines = [
        f"{manifest['num_samples']} samples in {made.folder} ({size / 2**20:.1f} MiB)",
        f"{rate:.0f} samples a second in {seconds:.1f} s, {compiling:.1f} s of them compiling",
        f"solved on {nodes} nodes with {resolution['steps']} steps in {manifest['precision']}",
        f"estimated error {manifest['estimated_error']:.1e} (relative L2, the worst of six)",
    ]
    if not made.computed:
        lines.append("found there, nothing was solved anew")
    elif made.computed < manifest["num_samples"]:
        lines.append(f"gone on with: {made.computed} were left to solve")
    screen = console()
    for line in lines:
        screen.print(line, markup=False, highlight=False)


@contextlib.contextmanager
def _progress(total: int, *, silent: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar for the samples, on a terminal only; yields what `generate` calls."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    screen = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=silent or not screen.is_terminal,
    ) as progress:
        task = progress.add_task("generate", total=total)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield tell
