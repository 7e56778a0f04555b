"""Checkpoints: folders that appear whole or not at all, each with its checksum."""

import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

from continua.core.errors import InputError
from continua.core.serialise import load_tree, save_tree

_FILES = ("state.json", "state.npz")


def save_checkpoint(folder: pathlib.Path, step: int, tree: Any, *, keep: int = 2) -> None:
    """Write `folder/STEP`, and drop all but the newest ones.

    The files are written into a folder beside it, which is renamed when they are on
    disk: a kill at any moment leaves the older checkpoints as they were.

    **Arguments:**

    - `folder`: the folder of checkpoints.
    - `step`: the steps that are done.
    - `tree`: what `core.serialise` can hold.
    - `keep`: how many are kept, 2.
    """
    final = folder / f"{step:09d}"
    temporary = folder / f"unfinished-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    save_tree(temporary / "state", tree)
    sums = {name: _digest(temporary / name) for name in _FILES}
    (temporary / "checksums.json").write_text(json.dumps(sums))
    for path in (*temporary.iterdir(), temporary):
        _flush(path)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(temporary, final)
    _flush(folder)
    for old in _finished(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def load_checkpoint(folder: pathlib.Path) -> tuple[int, Any] | None:
    """The newest checkpoint: the steps that were done, and its tree.

    **Arguments:**

    - `folder`: the folder of checkpoints.

    **Returns:** `None` where there is none.

    **Raises:** `InputError` where the newest one is damaged.
    """
    for leftover in folder.glob("unfinished-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    found = _finished(folder)
    if not found:
        return None
    newest = found[-1]
    try:
        sums = json.loads((newest / "checksums.json").read_text())
        damaged = [name for name in _FILES if sums.get(name) != _digest(newest / name)]
    except (OSError, ValueError, AttributeError):
        damaged = ["checksums.json"]
    if damaged:
        raise InputError(
            f"the checkpoint is corrupt ({', '.join(damaged)})",
            where=str(newest),
            fix="delete this folder to resume from the one before, or start anew",
        )
    return int(newest.name), load_tree(newest / "state")


def _finished(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(p for p in folder.glob("*") if p.name.isdigit())


def _digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _flush(path: pathlib.Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
