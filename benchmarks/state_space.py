r"""Linear state-space layers: memories of thousands of rows, and what they cost.

The delay line: noise of a flat spectrum below `10 / delay` cycles a row is to be told again
`delay` rows later. Either a linear equation that is not trained and a readout of its states
by least squares, beside a random stable equation; or a trained network of 2 layers beside a
gated recurrent network with as many parameters. Where a system has a time scale, the best
of a few on the rows that are learned from counts, for all systems alike. `delay told` is one
such value of a whole series, by methods for series with their defaults.

`cost` are the seconds of one sequence of 32 features through one layer, and with the
gradient of its weights. `OSULeaf` are outlines of leaves, 427 rows each,
of 6 species: 200 series to learn from and 242 held out.
"""

import dataclasses
import math
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common import run
from continua.core.precision import precision
from continua.methods import GRU, Mean, NeuralCDE, StateSpace
from continua.methods.dynamics.reader import reader_steps
from continua.nets import (
    LSSL,
    S4D,
    S5,
    GRUCell,
    Linear,
    SequenceModel,
    count_parameters,
    discretise,
    hippo,
)
from continua.nets.state_space import MODES
from continua.problems import Series, SeriesProblem, from_aeon
from continua.train import fit
from continua.train.samplers import AbstractSampler

STATES, CYCLES = 64, 10.0
SCALES = (0.1, 0.3, 0.5, 1.0, 2.0)


def noise(rows: int, cycles: float, seed: int) -> np.ndarray:
    """Normal noise of unit variance with a flat spectrum below `cycles` a row."""
    waves = np.fft.rfft(np.random.default_rng(seed).normal(size=2 * rows))
    waves[np.fft.rfftfreq(2 * rows) > cycles] = 0
    found = np.fft.irfft(waves)[:rows]
    return found / found.std()


# -- states that are not trained ---------------------------------------------------------


def dense_states(u: np.ndarray, a: Any, b: Any, dt: float, every: int) -> np.ndarray:
    """States of a dense equation over many signals `(S, T)`, some of the rows."""
    factor, push = (np.asarray(x) for x in discretise(a, b, dt))
    x, found = np.zeros((len(u), len(push))), []
    for k, values in enumerate(u.T):
        x = x @ factor.T + push * values[:, None]
        if k % every == 0:
            found.append(x)
    return np.stack(found, axis=1)


def diagonal_states(u: np.ndarray, layer: S4D | S5, rate: float, every: int) -> np.ndarray:
    """Real and imaginary parts of the modes of a layer of one feature."""
    factor, push = (np.ravel(x) for x in layer.discrete(rate))
    if isinstance(layer, S5):
        push = push * np.asarray(jax.lax.complex(*layer.enter.value))[:, 0]
    x, found = np.zeros((len(u), len(push)), complex), []
    for k, values in enumerate(u.T):
        x = x * factor + push * values[:, None]
        if k % every == 0:
            found.append(x)
    states = np.stack(found, axis=1)
    return np.concatenate([np.real(states), np.imag(states)], axis=2)


def random_equation(n: int, seed: int) -> tuple[Any, Any]:
    """A random matrix with eigenvalues of real parts up to -0.1, and an input vector."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n)) / math.sqrt(n)
    shift = np.linalg.eigvals(a).real.max() + 0.1
    return jnp.asarray(a - shift * np.eye(n)), jnp.asarray(rng.normal(size=n))


def systems(seed: int, base: float) -> dict[str, list[tuple[Any, ...]]]:
    """Every system, at its time scales: what `dense_states` or `diagonal_states` takes."""
    key = jax.random.key(seed)
    legs, rough = hippo("legs", STATES), random_equation(STATES, seed)
    found: dict[str, list[tuple[Any, ...]]] = {
        # A window of twice the delay; the others take the best of their scales.
        f"LegT, {STATES} states": [(*hippo("legt", STATES), base)],
        f"LegT, {STATES // 2} states": [(*hippo("legt", STATES // 2), base)],
        "LegS": [(*legs, base / s) for s in SCALES],
        "random stable matrix": [(*rough, base * s) for s in (1.0, 10.0, 100.0)],
    }
    for name, kind in (("S4D", S4D), ("S5", S5)):
        layer = kind(1, states=STATES, dt=(1e-3, 1e-3), key=key)
        found[name] = [(layer, 1e3 * base / s) for s in SCALES]
    return found


@dataclasses.dataclass(frozen=True)
class Case:
    """Signals of some length; the readout is learned on `learned` (which signals, which
    rows) and tested on `tested`, all of every so many rows."""

    rows: int
    delay: int
    signals: int
    every: int
    learned: tuple[slice, slice]
    tested: tuple[slice, slice]

    def errors(self, u: np.ndarray, states: np.ndarray) -> tuple[float, float]:
        """Mean square on the rows that are learned from, and on those that are tested."""
        target = np.pad(u, ((0, 0), (self.delay, 0)))[:, : self.rows : self.every]
        table = np.concatenate([states, u[:, :: self.every, None]], axis=2)
        a, b = (table[part].reshape(-1, table.shape[2]) for part in (self.learned, self.tested))
        right, other = target[self.learned].ravel(), target[self.tested].ravel()
        weights = np.linalg.lstsq(a, right, rcond=None)[0]
        return float(np.mean((a @ weights - right) ** 2)), float(
            np.mean((b @ weights - other) ** 2)
        )


def _cases(quick: bool):
    yield Case(6000, 500, 1, 1, (slice(1), slice(1000, 4000)), (slice(1), slice(4000, None)))
    for delay in () if quick else (500, 1000, 2000, 4000):
        # The signal is smooth over `delay / 20` rows: a few thousand of all rows are enough.
        every = delay // 100
        rows = slice(2 * delay // every, None)
        yield Case(16000, delay, 12, every, (slice(8), rows), (slice(8, None), rows))


def delay_lines(quick: bool) -> list[dict]:
    """Least squares on states that are not trained."""
    rows = []
    with precision("float64"):
        for case in _cases(quick):
            for seed in range(1 if quick else 3):
                seeds = range(100 * seed, 100 * seed + case.signals)
                u = np.stack([noise(case.rows, CYCLES / case.delay, i) for i in seeds])
                errors = {}
                for name, ways in systems(seed, 0.5 / case.delay).items():
                    states: Any = diagonal_states if name in ("S4D", "S5") else dense_states
                    pairs = [case.errors(u, states(u, *way, case.every)) for way in ways]
                    errors[name] = min(pairs)[1]
                setting = f"{case.rows} rows, delay {case.delay}"
                for name, error in errors.items():
                    ratio = errors["random stable matrix"] / error
                    values = {"mean_square": error, "ratio_to_random": ratio}
                    rows += _rows("delay line, least squares", name, setting, seed, values)
    return rows


# -- networks that are trained -----------------------------------------------------------


class Crops(AbstractSampler):
    """Pieces of a long signal, at random places.

    **Arguments:**

    - `signal`: `(T,)`.
    - `count`, `length`: of the pieces.
    """

    signal: Any
    count: int = eqx.field(static=True)
    length: int = eqx.field(static=True)

    def sample(self, step, model, *, key):
        key = jax.random.fold_in(key, step)
        last = self.signal.shape[0] - self.length
        begins = jax.random.randint(key, (self.count,), 0, last)
        return self.signal[begins[:, None] + jnp.arange(self.length)]


class Teller(eqx.Module):
    """A number at every row: a recurrent or a state-space network, and a linear map."""

    body: Any
    head: Linear

    def __call__(self, u):
        if isinstance(self.body, SequenceModel):
            return self.head(self.body(u[None]))[0]
        zero = jnp.zeros(self.body.size, u.dtype)
        _, h = jax.lax.scan(lambda h, v: (z := self.body(v[None], h), z), zero, u)
        return self.head(h.T)[0]


@dataclasses.dataclass(frozen=True)
class DelayLine:
    """A network trained to tell what a signal was some rows before."""

    layer: str
    training: Any
    delay: int = 500
    length: int = 1000
    width: int = 16

    def init(self, problem, *, key):
        body, head = jax.random.split(key)
        if self.layer == "gru":
            return Teller(GRUCell(1, self.width, key=body), Linear(self.width, 1, key=head))
        model = SequenceModel(1, width=self.width, depth=2, states=STATES, layer=self.layer,
                              norm=False, key=body)  # fmt: skip
        return Teller(model, Linear(self.width, 1, key=head))

    def batches(self, problem):
        return Crops(jnp.asarray(problem), 8, self.length)

    def loss(self, model, batch, *, key):
        told = jax.vmap(model)(batch)[:, self.delay :]
        error = jnp.mean((told - batch[:, : -self.delay]) ** 2)
        return error, {}


def equal_width(target: int) -> int:
    """The width of a gated recurrent network of about so many parameters."""
    return min(range(4, 200), key=lambda w: abs(3 * w * w + 9 * w + w + 1 - target))


def trained(quick: bool) -> list[dict]:
    """The delay line by networks, on a signal that they were not trained on."""
    steps, rows = 20 if quick else 500, []
    with precision("float32"):
        for seed in range(1 if quick else 3):
            signal = noise(60000, 0.02, seed).astype(np.float32)
            fresh = noise(16000, 0.02, 1000 + seed).astype(np.float32).reshape(16, 1000)
            errors, seconds, counts = {}, {}, {}
            for layer in ("s4d", "s5", "gru"):
                method = DelayLine(layer, reader_steps(steps, 4e-3))
                if layer == "gru":
                    method = dataclasses.replace(method, width=equal_width(counts["s4d"]))
                fitted = fit(method, signal, key=jax.random.key(seed))
                counts[layer] = count_parameters(fitted.model)
                tested = jax.jit(lambda m, x, f=method.loss: f(m, x, key=None)[0])
                errors[layer] = float(tested(fitted.model, jnp.asarray(fresh)))
                seconds[layer] = fitted.seconds
            for layer, error in errors.items():
                values = {
                    "mean_square": error,
                    "ratio_of_gru": errors["gru"] / error,
                    "parameters": counts[layer],
                    "seconds_train": seconds[layer],
                }
                setting = f"crops of 1000, delay 500, {steps} steps"
                found = _rows("delay line, trained", layer.upper(), setting, seed, values)
                rows += [{**row, "kind": "learned", "precision": "float32"} for row in found]
    return rows


# -- series that are told one number ------------------------------------------------------


def remembered(count: int, rows: int, delay: int, every: int) -> dict[str, SeriesProblem]:
    """What a signal was `delay` rows before its end, from all rows and from every so many.

    **Arguments:**

    - `count`: series to learn from, half as many are tested.
    - `rows`, `delay`: of a series.
    - `every`: rows to one, where not all are kept.
    """
    signals = np.stack([noise(rows, CYCLES / delay, i) for i in range(count + count // 2)])
    targets = tuple(map(float, signals[:, rows - 1 - delay]))
    found = {}
    for label, step in (("all rows", 1), (f"every {every} rows", every)):
        at = np.arange(step - 1, rows, step)
        series = tuple(Series(str(i), at / rows, u[at, None]) for i, u in enumerate(signals))
        found[label] = SeriesProblem(
            "delay_told", "What was told before", ("u",), "t", series, task="regress",
            targets=targets, tested=tuple(range(count, len(signals))),
        )  # fmt: skip
    return found


def told(quick: bool) -> list[dict]:
    """One delayed value of 16,000 rows, by log-signatures of all rows and by networks that read
    every hundredth; the mean square of tested series, whose variance is about 1."""
    count, rows, delay, every = (16, 1600, 400, 10) if quick else (512, 16000, 4000, 100)
    training = reader_steps(5 if quick else 600, 4e-3)
    coarse = f"every {every} rows"
    log_ode = NeuralCDE(control="log_signature", window=every, training=training)
    methods = {
        "NeuralCDE (log-ODE)": ("all rows", log_ode),
        "StateSpace (S5)": (coarse, StateSpace(training=training)),
        "StateSpace (S4D)": (coarse, StateSpace(layer="s4d", training=training)),
        "GRU": (coarse, GRU(training=training)),
        "Mean": (coarse, Mean()),
    }
    problems, found = remembered(count, rows, delay, every), []
    for label, (kept, method) in methods.items():
        for seed in range(1 if quick or label == "Mean" else 3):
            (row, *more) = run(problems[kept], method, label=label, seed=seed)[1]
            error = next(r for r in (row, *more) if r["metric"] == "rmse_held_out")
            setting = f"{kept} of {rows}, delay {delay}"
            own = {**error, "problem": "delay told", "setting": setting}
            found.append({**own, "metric": "mean_square", "value": error["value"] ** 2})
    return found


# -- cost --------------------------------------------------------------------------------

_MOST = 3.3e7  # bytes of states that a timed run may keep


def timed(call: Any, model: Any, u: Any) -> dict[str, float]:
    """Seconds of one sequence, forward and with the gradient of the weights: the least of
    some warm runs, which other work on the machine disturbs the least."""
    forward = jax.jit(lambda m, u: jax.vmap(lambda v: call(m, v))(u))
    both = jax.jit(jax.value_and_grad(lambda m, u: jnp.mean(forward(m, u) ** 2)))
    found = {}
    for name, program in (("seconds_forward", forward), ("seconds_gradient", both)):
        jax.block_until_ready(program(model, u))
        seconds, begun = [], time.perf_counter()
        while len(seconds) < 20 and (len(seconds) < 2 or time.perf_counter() - begun < 0.7):
            start = time.perf_counter()
            jax.block_until_ready(program(model, u))
            seconds.append(time.perf_counter() - start)
        found[name] = min(seconds) / len(u)
    return found


def cost(quick: bool) -> list[dict]:
    """Every mode at growing length, and how the seconds grow: their slope in logarithms."""
    width, key = 32, jax.random.key(0)
    lengths = (250, 500) if quick else (1000, 8000, 64000)
    found: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
    for length in lengths:
        for name, make, mode, uneven in _ways():
            digits = "float64" if name == "LSSL" else "float32"
            held = {"S5": STATES // 2, "S4D": width * STATES // 2, "LSSL": 2 * width * STATES}[name]
            if mode != "convolution" and 16 * held * length > _MOST:
                continue
            with precision(digits):
                u = jax.random.normal(key, (1, width, length))
                layer = make(width, states=STATES, key=key)
                steps = jnp.ones(length) if uneven else None
                call = lambda m, v, mode=mode, steps=steps: m(v, steps, mode=mode)  # noqa: E731
                label = f"{mode}, uneven rows" if uneven else mode
                found.setdefault((name, label), {})[length] = timed(call, layer, u)
        with precision("float32"):
            u = jax.random.normal(key, (1, width, length))
            cell = GRUCell(width, width, key=key)
            found.setdefault(("GRU", "recurrence"), {})[length] = timed(_recurrent, cell, u)
    rows = []
    for (name, label), table in found.items():
        digits = "float64" if name == "LSSL" else "float32"
        for length, values in table.items():
            setting = f"{label}, {length} rows"
            rows += _rows("cost", name, setting, 0, values, digits)
        long = [n for n in table if n >= 1000]
        if len(long) > 1:
            slopes = {f"slope_{k[8:]}": _slope(table, long, k) for k in table[long[0]]}
            rows += _rows("cost", name, f"{label}, {long[0]} to {long[-1]} rows", 0, slopes, digits)
    return rows


def _ways():
    for name, make in (("S5", S5), ("S4D", S4D), ("LSSL", LSSL)):
        for mode in MODES:
            yield name, make, mode, False
        if name != "LSSL":
            yield name, make, "scan", True
            yield name, make, "recurrence", True


def _recurrent(cell, u):
    zero = jnp.zeros(cell.size, u.dtype)
    return jax.lax.scan(lambda h, v: (z := cell(v, h), z), zero, u.T)[1]


def _slope(table, lengths, name: str) -> float:
    seconds = [table[n][name] for n in lengths]
    return float(np.polyfit(np.log(lengths), np.log(seconds), 1)[0])


# -- series that are classified ----------------------------------------------------------


def leaves(quick: bool) -> list[dict]:
    """OSULeaf by every layer beside a controlled equation and a gated recurrent network."""
    problem = from_aeon("OSULeaf")
    training = reader_steps(5 if quick else 600, 4e-3)
    methods = {
        "StateSpace (S5)": StateSpace(training=training),
        "StateSpace (S4D)": StateSpace(layer="s4d", training=training),
        "NeuralCDE (log-ODE)": NeuralCDE(control="log_signature", training=training),
        "GRU": GRU(training=training),
    }
    rows = []
    for label, method in methods.items():
        for seed in range(1 if quick else 3):
            rows += run(problem, method, label=label, seed=seed)[1]
    return rows


def _rows(problem, method, setting, seed, values, digits="float64") -> list[dict]:
    case = {
        "problem": problem,
        "method": method,
        "setting": setting,
        "seed": seed,
        "kind": "classical",
        "precision": digits,
    }
    return [{**case, "metric": name, "value": value} for name, value in values.items()]


def main(quick: bool = False) -> list[dict]:
    """Run all parts and return flat records.

    **Arguments:**

    - `quick`: short series, few steps, one seed.
    """
    return [*delay_lines(quick), *trained(quick), *told(quick), *cost(quick), *leaves(quick)]
