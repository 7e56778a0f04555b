"""Moving digits: handwritten digits that fly straight on and bounce off the walls of a frame.

A digit at `p` moves by `p <- p + v`. Where it comes to a wall it stops there for the rest of
the step and sets out anew, in a random direction away from the wall and at a random speed
(stochastic moving digits); or it is reflected, and nothing but the start is random.
"""

import importlib
import importlib.util

import numpy as np

from continua.core.errors import InputError
from continua.problems.video import VideoProblem


def moving_digits(
    count: int = 512,
    tested: int = 32,
    *,
    length: int = 16,
    observed: int = 6,
    size: int = 32,
    digits: int = 1,
    enlarged: int = 2,
    speed: tuple[float, float] = (1.5, 3.0),
    stochastic: bool = True,
    seed: int = 0,
    images: np.ndarray | None = None,
) -> VideoProblem:
    """Videos of digits that bounce off the walls.

    A video depends on the seed, its number and whether it is tested, not on how many there
    are. Those that are tested show images that no other shows.

    **Arguments:**

    - `count`, `tested`: videos to learn from, 512, and behind them videos to test on, 32.
    - `length`, `observed`: frames, 16, and how many a method sees of a tested video, 6.
    - `size`: of the square frame, 32 pixels.
    - `digits`: in a frame, 1.
    - `enlarged`: pixels of the frame for one of the image, 2.
    - `speed`: the least and the most, 1.5 and 3 pixels from frame to frame.
    - `stochastic`: whether they set out anew at walls, or are reflected.
    - `seed`: of all draws.
    - `images`: what moves, brightness from 0 to 1 `(m, h, w)`; by default the 1,797 digits
      of 8 by 8 pixels that come with scikit-learn.

    **Raises:** `InputError` where scikit-learn is needed and missing, for images that do not
    fit into a frame, and for numbers that make no sense.

    **Reference:** denton2018stochastic, alpaydin1998optical
    """
    images = _scans() if images is None else np.asarray(images, float)
    _check(images, (count, tested, digits, enlarged), size, speed)
    images = np.kron(images, np.ones((1, enlarged, enlarged)))
    first = max(1, len(images) // 5)  # those of tested videos
    pools = (images[first:], images[:first])
    how = (length, size, digits, speed, stochastic)
    frames = [
        _video(pool, np.random.default_rng((seed, part, i)), *how)
        for part, (pool, many) in enumerate(zip(pools, (count, tested), strict=True))
        for i in range(many)
    ]
    return VideoProblem(
        name="moving_digits",
        title="Digits that bounce off walls" + (" in random directions" if stochastic else ""),
        frames=np.stack(frames),
        observed=observed,
        tested=tuple(range(count, count + tested)),
        citation="denton2018stochastic",
    )


def trajectory(
    limits: tuple[float, float],
    length: int,
    speed: tuple[float, float],
    stochastic: bool,
    draw: np.random.Generator,
) -> np.ndarray:
    """Places of one digit, `(length, 2)`, each from 0 to its limit.

    **Arguments:**

    - `limits`: rows and columns that are free.
    - `length`, `speed`, `stochastic`: as `moving_digits`.
    - `draw`: random numbers.
    """
    limit = np.array(limits)
    place, found = draw.uniform(0, 1, 2) * limit, []
    v = _velocity(draw, speed)
    for _ in range(length):
        found.append(place)
        ahead = place + v
        inside = np.clip(ahead, 0, limit)
        hit = inside != ahead
        if not hit.any():
            place = ahead
        elif stochastic:
            place, v = inside, _velocity(draw, speed)
            # From the wall, whatever the draw.
            v = np.where(hit, np.where(place > 0, -1.0, 1.0) * np.abs(v), v)
        else:
            # Longer steps than the room are folded as often as it takes.
            turn = np.maximum(limit, 1e-9)
            folded = np.mod(ahead, 2 * turn)
            place = np.where(folded > turn, 2 * turn - folded, folded)
            v = np.where(folded > turn, -v, v)
    return np.stack(found)


def _velocity(draw: np.random.Generator, speed: tuple[float, float]) -> np.ndarray:
    angle, size = draw.uniform(0, 2 * np.pi), draw.uniform(*speed)
    return size * np.array([np.sin(angle), np.cos(angle)])


def _video(images, draw, length, size, digits, speed, stochastic) -> np.ndarray:
    """Frames `(length, size, size)`."""
    frames = np.zeros((length, size, size), np.float32)
    for _ in range(digits):
        image = images[draw.integers(len(images))]
        limits = (float(size - image.shape[0]), float(size - image.shape[1]))
        places = trajectory(limits, length, speed, stochastic, draw)
        for frame, place in zip(frames, places, strict=True):
            np.maximum(frame, painted(image, place, size), out=frame)
    return frames


def painted(image: np.ndarray, place: np.ndarray, size: int) -> np.ndarray:
    """A frame with an image at a place between pixels, straight from one to the next.

    **Arguments:**

    - `image`: `(h, w)`.
    - `place`: of its upper left corner, `(2,)`.
    - `size`: of the frame.
    """
    frame = np.zeros((size + 1, size + 1))
    row, column = np.floor(place).astype(int)
    down, right = place - np.floor(place)
    height, width = image.shape
    for i, a in ((0, 1 - down), (1, down)):
        for j, b in ((0, 1 - right), (1, right)):
            frame[row + i : row + i + height, column + j : column + j + width] += a * b * image
    return frame[:size, :size]


def _scans() -> np.ndarray:
    if importlib.util.find_spec("sklearn") is None:
        raise InputError(
            "the digits come with scikit-learn, which is missing",
            where="moving_digits",
            fix="pip install scikit-learn, or give images of your own",
        )
    return np.asarray(importlib.import_module("sklearn.datasets").load_digits().images) / 16


def _check(images, counts, size, speed) -> None:
    if images.ndim != 3 or len(images) < 2:
        raise InputError(
            f"images of shape {images.shape}, expected (images, rows, columns), two or more",
            where="moving_digits.images",
        )
    if min(counts) < 1:
        raise InputError(
            f"got {min(counts)}",
            where="moving_digits",
            fix="give 1 or more for count, tested, digits and enlarged",
        )
    needed = counts[-1] * max(images.shape[1:])
    if needed > size:
        raise InputError(
            f"digits of {needed} pixels in a frame of {size:g}",
            where="moving_digits.size",
            fix=f"give {needed + 8} or more",
        )
    if not 0 <= speed[0] <= speed[1]:
        raise InputError(
            f"got {speed[0]:g} to {speed[1]:g}",
            where="moving_digits.speed",
            fix="give the least and the most, in pixels from frame to frame",
        )
