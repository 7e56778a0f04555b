"""Laws of paths that generators are to learn, and how far what they make is from them."""

import numpy as np

from continua.problems import Series, SeriesProblem

DEVIATION = 0.5 / 0.4**0.5  # of the Ornstein-Uhlenbeck process, in the long run
_PARTS = 20  # steps of the truth in a unit of time


def paths(kind: str, count: int, rows: int, seed: int) -> np.ndarray:
    """Paths `(n, T)` of an equation at unit times.

    **Arguments:**

    - `kind`: `"growing"`, `"ornstein_uhlenbeck"`, `"stationary"` (the same from its own law)
      or `"double_well"`.
    - `count`, `rows`: how many, and their length.
    - `seed`: of all.
    """
    draw = np.random.default_rng(seed)
    y = draw.uniform(-1, 1, count)
    if kind == "stationary":
        y = DEVIATION * draw.standard_normal(count)
    found, h = [y], 1 / _PARTS
    for i in range((rows - 1) * _PARTS):
        t, noise = i * h, np.sqrt(h) * draw.standard_normal(count)
        if kind == "growing":
            y = y + h * (0.02 * t - 0.1 * y) + 0.8 * t / 63 * noise
        elif kind in ("ornstein_uhlenbeck", "stationary"):
            y = y - 0.2 * h * y + 0.5 * noise
        else:
            y = y + 0.5 * h * (y - y**3) + 0.5 * noise
        if (i + 1) % _PARTS == 0:
            found.append(y)
    return np.stack(found, axis=1)


def generation(kind: str, quick: bool, *, missing: float = 0.0, every: int = 1) -> SeriesProblem:
    """The problem of making more such paths.

    **Arguments:**

    - `kind`: as `paths`.
    - `quick`: few of them.
    - `missing`: the share of values that are not measured.
    - `every`: units of time between two rows.
    """
    learned, tested, last = (64, 64, 16) if quick else (1024, 512, 64 if kind == "growing" else 32)
    values = paths(kind, learned + tested, last, 0)[:, ::every]
    gaps = np.random.default_rng(1).random(values.shape) < missing
    gaps[learned:] = False
    t = every * np.arange(float(values.shape[1]))
    series = tuple(
        Series(str(i), t, np.where(gaps[i], np.nan, values[i])[:, None])
        for i in range(learned + tested)
    )
    return SeriesProblem(
        name=f"generate_{kind}",
        title=kind.replace("_", " "),
        variables=("y",),
        time="t",
        series=series,
        task="generate",
        tested=tuple(range(learned, learned + tested)),
    )


def law_rows(problem, solution, rows: list[dict]) -> list[dict]:
    """The records of a generated law, with deviations at three times and the correlation of
    an increment with the one before.

    **Arguments:**

    - `problem`, `solution`: of one channel.
    - `rows`: the records of the errors that `compare` knows.
    """
    real = np.stack([s.y[:, 0] for s in problem.held_out()])
    t = problem.series[-1].t
    new = solution.values(*np.meshgrid(np.arange(1000.0), t, indexing="ij"))[0]
    at = [len(t) * k // 16 for k in (5, 10, 15)]
    ratios = np.abs(np.log(new[:, at].std(axis=0) / real[:, at].std(axis=0)))
    lag = [
        np.corrcoef(np.diff(x)[:, 1:].ravel(), np.diff(x)[:, :-1].ravel())[0, 1]
        for x in (new, real)
    ]
    more = {
        "log_deviation_ratios": float(ratios.sum()),
        "increment_correlation": float(lag[0]),
        "increment_correlation_real": float(lag[1]),
    }
    return [*rows, *({**rows[0], "metric": k, "value": v} for k, v in more.items())]
