"""Functions that stay in a file: arrays of which only the rows asked for are read."""

import dataclasses
import hashlib
import pathlib
from typing import Any, ClassVar

import numpy as np

from continua.core.errors import InputError
from continua.problems.values import AbstractValue

_MARKED = 2**16  # bytes at either end of a file that its mark is made of


@dataclasses.dataclass(frozen=True)
class Channel:
    """One channel of functions in a file.

    **Arguments:**

    - `path`: of the dataset in the file; within the group of a sample where there are
      such groups.
    - `index`: for each of its axes what becomes of it: `"sample"`, a whole number to take
      from it, or the name of a space axis. Axes of space that are missing are constant.
    """

    path: str
    index: tuple[int | str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class StoredArray(AbstractValue):
    """Functions `(n, c, *N)` in an HDF5 file; indexed like an array, it reads the rows.

    Two are equal where their files hold the same, wherever they lie.

    **Arguments:**

    - `file`: its path.
    - `mark`: of the file, from `mark_of`, by which a change is noticed.
    - `content`: what tells the content: of a file of unknown origin its mark.
    - `channels`: what `c` counts.
    - `space`: names of the axes; `nodes`: how many each has in the file.
    - `every`: each so-many-th node of an axis is taken.
    - `start`, `stop`: rows of the file.
    - `groups`: of the samples, where each has its own.

    **Raises:** `InputError`, where rows are read, for numbers that are not finite and for
    a file that is damaged or was changed.
    """

    file: str
    mark: str
    content: str
    channels: tuple[Channel, ...]
    space: tuple[str, ...]
    nodes: tuple[int, ...]
    every: tuple[int, ...]
    start: int
    stop: int
    groups: tuple[str, ...] = ()

    silent: ClassVar[tuple[str, ...]] = ("file", "mark")

    @property
    def shape(self) -> tuple[int, ...]:
        """`(n, c, *N)`."""
        nodes = (-(-n // every) for n, every in zip(self.nodes, self.every, strict=True))
        return (self.stop - self.start, len(self.channels), *nodes)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 2 + len(self.space)

    @property
    def dtype(self) -> np.dtype:
        """Of what is read: double precision unless the whole file is single."""
        with _opened(self) as file:
            return self._type(file)

    def _type(self, file: Any) -> np.dtype:
        group = file[self.groups[self.start]] if self.groups else file
        return np.result_type(*(group[c.path].dtype for c in self.channels), np.float32)

    def part(self, start: int, stop: int) -> "StoredArray":
        """Some of its rows, still in the file.

        **Arguments:**

        - `start`, `stop`: rows of this array.
        """
        begin = self.start
        return dataclasses.replace(self, start=begin + start, stop=begin + stop)

    def mean(self, axis: Any = None, **options: Any) -> np.ndarray:
        """As that of an array in memory.

        **Arguments:**

        - `axis`, `options`: of `numpy.mean`.
        """
        return np.asarray(self).mean(axis, **options)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if first is Ellipsis or first is None:
            return self._read(np.arange(len(self)))[key]
        chosen = np.arange(len(self))[first]
        rows, back = np.unique(np.atleast_1d(chosen), return_inverse=True)
        found = self._read(rows)[back.reshape(np.shape(chosen))]
        return found[(*(slice(None),) * np.ndim(chosen), *rest)] if rest else found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self._read(np.arange(len(self))), dtype)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        """Rows in increasing order, read in runs."""
        breaks = np.flatnonzero(np.diff(rows) > 1) + 1
        begin = 0
        with _opened(self) as file:
            out = np.empty((len(rows), *self.shape[1:]), self._type(file))
            for run in np.split(rows, breaks) if len(rows) else ():
                for i, channel in enumerate(self.channels):
                    low, high = self.start + int(run[0]), self.start + int(run[-1]) + 1
                    out[begin : begin + len(run), i] = self._run(file, channel, low, high)
                begin += len(run)
        return out

    def _run(self, file: Any, channel: Channel, low: int, high: int) -> np.ndarray:
        """Rows `low` to `high` of the file of one channel, `(rows, *N)` or broadcastable."""
        name = pathlib.Path(self.file).name
        try:
            if self.groups:
                parts = [file[g][channel.path][_key(channel, 0, 1)] for g in self.groups[low:high]]
                values = np.stack(parts)
            else:
                values = np.asarray(file[channel.path][_key(channel, low, high)])
        except (OSError, KeyError, ValueError, IndexError) as error:
            raise InputError(
                f"'{channel.path}' cannot be read ({' '.join(str(error).split())[:120]})",
                where=f"{name}, sample {low}",
                fix="the file is damaged or was changed; get it anew",
            ) from error
        if not np.all(np.isfinite(values)):
            axes = tuple(range(1, values.ndim))
            bad = low
            if self.groups or "sample" in channel.index:
                bad += int(np.flatnonzero(~np.isfinite(values).all(axis=axes))[0])
            raise InputError(
                f"'{channel.path}' holds values that are not finite",
                where=f"{name}, sample {bad}",
                fix="leave this sample, or these times, out",
            )
        if not self.groups and "sample" not in channel.index:
            values = values[None]
        return values[self._in_place(channel)]

    def _in_place(self, channel: Channel) -> tuple[Any, ...]:
        """The index that thins the axes out and puts new ones where some are missing."""
        steps = zip(self.space, self.every, strict=True)
        return (
            slice(None),
            *(slice(None, None, k) if name in channel.index else None for name, k in steps),
        )


def _key(channel: Channel, low: int, high: int) -> tuple[Any, ...]:
    return tuple(
        slice(low, high) if part == "sample" else (part if isinstance(part, int) else slice(None))
        for part in channel.index
    )


def _opened(array: StoredArray) -> Any:
    file = open_hdf5(array.file)
    if mark_of(array.file) != array.mark:
        file.close()
        raise InputError(
            "has changed since it was opened",
            where=pathlib.Path(array.file).name,
            fix="open it again",
        )
    return file


def open_hdf5(path: str | pathlib.Path) -> Any:
    """An HDF5 file, to be read.

    **Arguments:**

    - `path`: of the file.

    **Raises:** `InputError` where it is missing or no such file.
    """
    import h5py

    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError("there is no such file", where=str(path), fix="check the path")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"is no HDF5 file ({' '.join(str(error).split())})", where=str(path)
        ) from error


def mark_of(path: str | pathlib.Path) -> str:
    """A short mark of a file: its size, its age, and its first and last bytes.

    **Arguments:**

    - `path`: of the file, which is not read whole.
    """
    path = pathlib.Path(path)
    found = path.stat()
    state = hashlib.sha256(f"{found.st_size} {found.st_mtime_ns}".encode())
    with path.open("rb") as file:
        state.update(file.read(_MARKED))
        file.seek(max(0, found.st_size - _MARKED))
        state.update(file.read(_MARKED))
    return state.hexdigest()[:32]
