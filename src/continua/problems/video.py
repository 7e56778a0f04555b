"""Videos as problems: small frames, evenly spaced in time, whose future is asked for.

Frames are no channels of a series: a thousand pixels as a thousand variables would lose which
of them are neighbours, and no distance of laws of paths could be taken between them.
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from continua.core.errors import InputError
from continua.problems.problem import AbstractProblem


@dataclasses.dataclass(frozen=True, eq=False)
class VideoProblem(AbstractProblem):
    """Videos of one law, and the first frames of others, of which the rest is asked for.

    A solution tells the brightness at the number of a tested video, a time, and a place: `x`
    is the column of a pixel, `y` its row counted from below.

    **Arguments:**

    - `name`, `title`: a short name and a line for people.
    - `frames`: brightness from 0 to 1, `(n, T, H, W)`, rows from above.
    - `observed`: frames of a tested video that a method may see, its first ones.
    - `tested`: numbers of the videos that are held out.
    - `interval`: time between two frames, 1.
    - `citation`: a key of `core/refs.bib`; `notes`: what is hard about it.

    **Raises:** `InputError` for other shapes and values, and where nothing is learned from or
    tested.
    """

    name: str
    title: str
    frames: np.ndarray
    observed: int
    tested: tuple[int, ...]
    interval: float = 1.0
    citation: str = ""
    notes: str = ""

    kind: ClassVar[str] = "video"
    outputs: ClassVar[tuple[str, ...]] = ("brightness",)

    def __post_init__(self):
        frames = np.array(self.frames, np.float32)
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "tested", tuple(int(i) for i in self.tested))
        if frames.ndim != 4 or not frames.size:
            raise InputError(
                f"an array of shape {frames.shape}, expected (videos, times, rows, columns)",
                where="video.frames",
            )
        if not (frames.min() >= 0 and frames.max() <= 1):  # false for NaN too
            raise InputError(
                "brightness must lie between 0 and 1", where="video.frames", fix="divide by 255?"
            )
        if not 1 <= self.observed < frames.shape[1]:
            raise InputError(
                f"got {self.observed} of {frames.shape[1]} frames",
                where="video.observed",
                fix="give 1 or more, and leave one to be told",
            )
        strange = [i for i in self.tested if not 0 <= i < len(frames)]
        if strange or not 0 < len(set(self.tested)) < len(frames):
            every = "every video is tested" if self.tested else "no video is tested"
            raise InputError(
                f"there is no video {strange[0]}" if strange else every,
                where="video.tested",
                fix=f"number some of them, from 0 to {len(frames) - 1}",
            )
        if not (np.isfinite(self.interval) and self.interval > 0):
            raise InputError(f"got {self.interval:g}", where="video.interval", fix="give a time")

    @property
    def times(self) -> np.ndarray:
        """Of the frames, `(T,)`."""
        return self.interval * np.arange(self.frames.shape[1])

    @property
    def learned(self) -> tuple[int, ...]:
        """Numbers of the videos that a method may see whole."""
        return tuple(i for i in range(len(self.frames)) if i not in set(self.tested))

    def training(self) -> np.ndarray:
        """Whole videos to learn from, `(m, T, H, W)`."""
        return self.frames[list(self.learned)]

    def seen(self) -> np.ndarray:
        """What a method may see of the tested videos, `(k, observed, H, W)`."""
        return self.frames[list(self.tested), : self.observed]

    def held_out(self) -> np.ndarray:
        """The rest of the tested videos, `(k, T - observed, H, W)`."""
        return self.frames[list(self.tested), self.observed :]

    def evaluation_grid(self) -> dict[str, np.ndarray]:
        """The tested videos at the times of their frames and the places of their pixels."""
        rows, columns = (np.arange(float(n)) for n in self.frames.shape[2:])
        numbers = np.array(self.tested, float)
        return {"video": numbers, "t": self.times, "x": columns, "y": rows}

    def truth(self) -> Any:
        """The tested videos, whole, as an `xarray.Dataset` on the evaluation grid."""
        import xarray

        grid = self.evaluation_grid()
        fields = {self.outputs[0]: (tuple(grid), on_grid(self.frames[list(self.tested)]))}
        return xarray.Dataset(fields, coords=grid, attrs={"method": "data"})


def on_grid(frames: np.ndarray) -> np.ndarray:
    """Frames with rows from above as values on the axes `x` and `y`.

    **Arguments:**

    - `frames`: `(*n, H, W)`.

    **Returns:** `(*n, W, H)`.
    """
    return np.swapaxes(frames[..., ::-1, :], -1, -2)


def off_grid(values: np.ndarray) -> np.ndarray:
    """What `on_grid` was made of.

    **Arguments:**

    - `values`: `(*n, W, H)`.
    """
    return np.swapaxes(values, -1, -2)[..., ::-1, :]


def look_up(
    frames: np.ndarray, numbers: tuple[int, ...], interval: float, points: Any
) -> np.ndarray:
    """Brightness `(m, 1)` at points `(m, 4)`: of the pixel there, straight in time between two
    frames, and as at the ends before and after them.

    **Arguments:**

    - `frames`: `(k, T, H, W)`.
    - `numbers`: of these videos.
    - `interval`: between frames.
    - `points`: video, time, column, row from below.

    **Raises:** `InputError` for another video.
    """
    points = np.asarray(points, float)
    known = {number: i for i, number in enumerate(numbers)}
    asked, which = np.unique(np.rint(points[:, 0]).astype(int), return_inverse=True)
    strange = [i for i in asked if i not in known]
    if strange:
        raise InputError(
            f"nothing is known of video {strange[0]}",
            where="solution(...)",
            fix=f"ask for those that are tested: {', '.join(map(str, numbers[:8]))}, ...",
        )
    video = np.array([known[i] for i in asked], int)[which]
    last, height, width = (n - 1 for n in frames.shape[1:])
    at = np.clip(points[:, 1] / interval, 0, last)
    before = np.minimum(np.floor(at).astype(int), max(last - 1, 0))
    share = at - before
    column = np.clip(np.rint(points[:, 2]).astype(int), 0, width)
    row = height - np.clip(np.rint(points[:, 3]).astype(int), 0, height)
    first = frames[video, before, row, column]
    second = frames[video, np.minimum(before + 1, last), row, column]
    return ((1 - share) * first + share * second)[:, None]
