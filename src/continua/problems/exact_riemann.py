"""Riemann problems: two constant states and the waves between them, in closed form."""

import dataclasses
import math
from collections.abc import Callable

from continua.core.errors import InputError

_ITERATIONS = 60


@dataclasses.dataclass(frozen=True)
class GasStar:
    """The states between the waves of an ideal gas.

    **Arguments:**

    - `pressure`, `velocity`: between the outer waves.
    - `left`, `right`: densities on both sides of the contact.
    """

    pressure: float
    velocity: float
    left: float
    right: float


def gas_star(
    left: tuple[float, float, float], right: tuple[float, float, float], gamma: float
) -> GasStar:
    """Between two states of an ideal gas.

    **Arguments:**

    - `left`, `right`: density, velocity, pressure.
    - `gamma`: ratio of specific heats.

    **Raises:** `InputError` where a density or pressure is not positive, and where a
    vacuum opens.

    **Reference:** toro2009riemann
    """
    if min(left[0], left[2], right[0], right[2]) <= 0:
        raise InputError("a density or pressure is not positive", where="riemann problem")
    al, ar = (math.sqrt(gamma * p / rho) for rho, _, p in (left, right))
    if right[1] - left[1] >= 2 * (al + ar) / (gamma - 1):
        raise InputError("a vacuum opens between the states", where="riemann problem")

    def change(p: float, state) -> tuple[float, float]:
        """How much a wave to pressure `p` changes the velocity, and the derivative."""
        rho, _, p0 = state
        if p > p0:
            a, b = 2 / ((gamma + 1) * rho), (gamma - 1) / (gamma + 1) * p0
            root = math.sqrt(a / (p + b))
            return (p - p0) * root, root * (1 - (p - p0) / (2 * (p + b)))
        sound, power = math.sqrt(gamma * p0 / rho), (gamma - 1) / (2 * gamma)
        ratio = (p / p0) ** power
        return 2 * sound / (gamma - 1) * (ratio - 1), sound / (gamma * p0) * ratio * p0 / p

    def rest(p: float) -> tuple[float, float]:
        (fl, dl), (fr, dr) = change(p, left), change(p, right)
        return fl + fr + right[1] - left[1], dl + dr

    p = _newton(rest, (left[2] + right[2]) / 2)
    u = (left[1] + right[1] + change(p, right)[0] - change(p, left)[0]) / 2

    def density(state) -> float:
        rho, _, p0 = state
        k = (gamma - 1) / (gamma + 1)
        ratio = p / p0
        return rho * ((ratio + k) / (k * ratio + 1) if p > p0 else ratio ** (1 / gamma))

    return GasStar(p, u, density(left), density(right))


def gas_formulas(
    left: tuple[float, float, float],
    right: tuple[float, float, float],
    gamma: float,
    place: float,
) -> tuple[str, str, str]:
    """Density, momentum and energy as text in `t` and `x`.

    **Arguments:**

    - `left`, `right`, `gamma`: as `gas_star`.
    - `place`: of the jump at `t = 0`.

    **Raises:** `InputError` as `gas_star`.

    **Reference:** toro2009riemann
    """
    star = gas_star(left, right, gamma)
    xi = _similarity(place)
    rows = []
    for sign, state, inner in ((-1, left, star.left), (1, right, star.right)):
        rho, u, p = state
        a = math.sqrt(gamma * p / rho)
        if star.pressure > p:
            ratio = star.pressure / p
            speed = math.sqrt((gamma + 1) / (2 * gamma) * ratio + (gamma - 1) / (2 * gamma))
            step = _inside(xi, u + sign * a * speed, sign)
            ends = ((rho, inner), (u, star.velocity), (p, star.pressure))
            rows.append([f"({b!r} + {e - b!r}*{step})" for b, e in ends])
            continue
        inner_sound = a * (star.pressure / p) ** ((gamma - 1) / (2 * gamma))
        z = _behind(xi, u + sign * a, star.velocity + sign * inner_sound)
        velocity = f"({u!r} + {2 / (gamma + 1)!r}*{z})"
        sound = f"(1 + {sign * (gamma - 1) / (gamma + 1) / a!r}*{z})"
        density = f"({rho!r}*{sound}^{2 / (gamma - 1)!r})"
        rows.append([density, velocity, f"({p!r}*{sound}^{2 * gamma / (gamma - 1)!r})"])
    beyond = _beyond(xi, star.velocity)
    density, velocity, pressure = (_joined(a, b, beyond) for a, b in zip(*rows, strict=True))
    energy = f"{pressure}/{gamma - 1!r} + {density}*{velocity}^2/2"
    return density, f"{density}*{velocity}", energy


def water_star(
    left: tuple[float, float], right: tuple[float, float], gravity: float
) -> tuple[float, float]:
    """Depth and velocity between the two waves of shallow water.

    **Arguments:**

    - `left`, `right`: depth and velocity.
    - `gravity`: acceleration.

    **Raises:** `InputError` where a depth is not positive, and where the bed falls dry.

    **Reference:** stoker1957water, toro2001shock
    """
    if min(left[0], right[0]) <= 0:
        raise InputError("a depth is not positive", where="riemann problem")
    al, ar = (math.sqrt(gravity * h) for h, _ in (left, right))
    if right[1] - left[1] >= 2 * (al + ar):
        raise InputError("the bed falls dry between the states", where="riemann problem")

    def change(h: float, h0: float) -> tuple[float, float]:
        if h > h0:
            root = math.sqrt(gravity / 2 * (1 / h + 1 / h0))
            return (h - h0) * root, root - gravity * (h - h0) / (4 * h**2 * root)
        return 2 * (math.sqrt(gravity * h) - math.sqrt(gravity * h0)), math.sqrt(gravity / h)

    def rest(h: float) -> tuple[float, float]:
        (fl, dl), (fr, dr) = change(h, left[0]), change(h, right[0])
        return fl + fr + right[1] - left[1], dl + dr

    h = _newton(rest, (left[0] + right[0]) / 2)
    return h, (left[1] + right[1] + change(h, right[0])[0] - change(h, left[0])[0]) / 2


def water_formulas(
    left: tuple[float, float], right: tuple[float, float], gravity: float, place: float
) -> tuple[str, str]:
    """Depth and discharge of shallow water as text in `t` and `x`.

    **Arguments:**

    - `left`, `right`, `gravity`: as `water_star`.
    - `place`: of the dam, at `t = 0`.

    **Raises:** `InputError` as `water_star`.

    **Reference:** stoker1957water, toro2001shock
    """
    depth, speed = water_star(left, right, gravity)
    xi, rows = _similarity(place), []
    for sign, (h, u) in ((-1, left), (1, right)):
        a = math.sqrt(gravity * h)
        if depth > h:
            bore = a * math.sqrt((depth + h) * depth / (2 * h**2))
            step = _inside(xi, u + sign * bore, sign)
            ends = ((h, depth), (u, speed))
            rows.append([f"({b!r} + {e - b!r}*{step})" for b, e in ends])
            continue
        z = _behind(xi, u + sign * a, speed + sign * math.sqrt(gravity * depth))
        wave = f"(1 + {sign / (3 * a)!r}*{z})"
        rows.append([f"({h!r}*{wave}^2)", f"({u!r} + 2/3*{z})"])
    beyond = _beyond(xi, speed)
    height, velocity = (_joined(a, b, beyond) for a, b in zip(*rows, strict=True))
    return height, f"{height}*{velocity}"


def _similarity(place: float) -> str:
    """`x / t` from the jump; at `t = 0` larger than any speed on either side."""
    return f"((x - {place!r})/max(t, 1e-200))"


def _beyond(xi: str, speed: float) -> str:
    """1 to the right of a speed, 0 to its left."""
    return f"((1 + sign({xi} - ({speed!r})))/2)"


def _joined(left: str, right: str, beyond: str) -> str:
    return f"({left} + ({right} - {left})*{beyond})"


def _inside(xi: str, speed: float, sign: int) -> str:
    """1 between the shock of one side and the contact, 0 before the shock."""
    return f"((1 - ({sign})*sign({xi} - ({speed!r})))/2)"


def _behind(xi: str, outer: float, inner: float) -> str:
    """`x / t` behind the outer end of a fan: 0 before it, constant from its inner end on."""
    low, high = sorted((0.0, inner - outer))
    return f"min(max({xi} - ({outer!r}), {low!r}), {high!r})"


def _newton(function: Callable[[float], tuple[float, float]], start: float) -> float:
    """The positive root of an increasing concave function."""
    x = start
    for _ in range(_ITERATIONS):
        value, slope = function(x)
        new = max(x - value / slope, x / 10)
        if abs(new - x) <= 1e-15 * x:
            return new
        x = new
    return x
