"""Training data on disk, so that processes of one comparison make them once."""

import contextlib
import contextvars
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree
from continua.core.source import source_digest

_folder: contextvars.ContextVar[pathlib.Path | None] = contextvars.ContextVar(
    "folder", default=None
)
_ROOMS = ("core", "equations", "spaces", "integrate", "problems")


@contextlib.contextmanager
def kept_in(folder: str | pathlib.Path) -> Iterator[None]:
    """Inside the block, data that were made are kept in a folder, and found there again.

    **Arguments:**

    - `folder`: made where it does not exist.
    """
    token = _folder.set(pathlib.Path(folder))
    try:
        yield
    finally:
        _folder.reset(token)


def kept(problem: Any, make: Callable[[], Any]) -> Any:
    """What `make` returns, from disk where it was made before.

    **Arguments:**

    - `problem`: a value whose digest, with that of the code, names the files.
    - `make`: returns a tree that `save_tree` can write.
    """
    folder = _folder.get()
    if folder is None:
        return make()
    name = f"{problem.digest()[:16]}-{source_digest(*_ROOMS)[:16]}"
    with contextlib.suppress(InputError):  # missing or damaged: made anew
        return load_tree(folder / name / "data")
    made = make()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        save_tree(pathlib.Path(temporary) / name / "data", made)
        with contextlib.suppress(OSError):  # another process was first
            (pathlib.Path(temporary) / name).rename(folder / name)
    return made
