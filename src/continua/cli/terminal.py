"""What a person sees: a console, and progress that is silent off a terminal."""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


def console() -> Console:
    """The console for results."""
    return Console(soft_wrap=True)


def emit(text: str) -> None:
    """Plain text for people and programs: no colours, no wrapping."""
    sys.stdout.write(text + "\n")


def _progress(silent: bool) -> Progress:
    screen = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=silent or not screen.is_terminal,
    )


@contextlib.contextmanager
def training_progress(label: str, *, silent: bool) -> Iterator[Callable[[int, int, float], None]]:
    """A bar for one training; yields what `solve` calls.

    **Arguments:**

    - `label`: what is trained.
    - `silent`: whether nothing is to be shown.
    """
    with _progress(silent) as progress:
        task = progress.add_task(label, total=None, note="compiling")

        def tell(done: int, total: int, loss: float) -> None:
            progress.update(
                task, completed=done, total=total, note=f"{done}/{total} loss {loss:.2e}"
            )

        yield tell


@contextlib.contextmanager
def case_progress(*, silent: bool) -> Iterator[Callable[[str, int, int, dict | None], None]]:
    """A bar for the cases of a comparison; yields what `compare` calls.

    **Arguments:**

    - `silent`: whether nothing is to be shown.
    """
    with _progress(silent) as progress:
        task = progress.add_task("reference", total=None, note="")

        def tell(label: str, number: int, count: int, row: dict[str, Any] | None) -> None:
            note, share = "", 0.0
            if row is not None:
                share = row["done"] / max(row["total"], 1)
                loss = float(row["loss"])
                note = f"{row['done']}/{row['total']}"
                note += "" if math.isnan(loss) else f" loss {loss:.2e}"
            title = f"{label} ({number + 1} of {count})"
            progress.update(
                task, description=title, completed=number + share, total=count, note=note
            )

        yield tell
