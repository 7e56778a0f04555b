"""Explicit Runge-Kutta methods as coefficient data."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Extension:
    r"""Further stages of a step, which are wanted where a save lies inside it.

        k_i = f(t + c_i h, y + h sum_j a_ij k_j)
        y(t + s h) = hermite(s) + s^2 (1-s)^2 h sum_m (2s-1)^m sum_i bends_mi k_i

    Sums are over the stages of the step that are `used`, the slope at its end among them,
    and then over the further ones.

    **Arguments:**

    - `used`: numbers of stages; one that the step does not have is the slope at its end.
    - `a`: rows of `a_ij`.
    - `c`: nodes, one a further stage.
    - `bends`: rows of weights, one a power of `2s-1`.
    - `order`: of the polynomial.

    **Reference:** enright1986interpolants
    """

    used: tuple[int, ...]
    a: tuple[tuple[float, ...], ...]
    c: tuple[float, ...]
    bends: tuple[tuple[float, ...], ...]
    order: int


@dataclasses.dataclass(frozen=True)
class Tableau:
    r"""Coefficients of an explicit Runge-Kutta method.

        k_i = f(t + c_i h, y + h sum_j a_ij k_j),  y_new = y + h sum_i b_i k_i

    **Arguments:**

    - `a`: rows of `a_ij` below the diagonal, the first of them empty.
    - `b`: weights, one a stage.
    - `c`: nodes, one a stage.
    - `order`: of `b`.
    - `error`: `b - b_embedded`, so that `h sum_i error_i k_i` estimates the error;
      `None` where the method has no embedded one.
    - `embedded_order`: of the embedded weights.
    - `bend`: what the cubic Hermite polynomial of a step lacks, where more is known:
      `y(t + s h) = hermite(s) + s^2 (1-s)^2 h sum_i bend_i k_i`.
    - `extension`: further stages for this, where those of the step are too few.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int
    error: tuple[float, ...] | None = None
    embedded_order: int = 0
    bend: tuple[float, ...] | None = None
    extension: Extension | None = None

    @property
    def stages(self) -> int:
        """How many stages there are."""
        return len(self.b)

    @property
    def first_same_as_last(self) -> bool:
        """Whether the last stage is the first one of the next step."""
        return self.b[-1] == 0 and self.a[-1] == self.b[:-1] and self.c[-1] == 1


EULER = Tableau(a=((),), b=(1.0,), c=(0.0,), order=1)

HEUN = Tableau(
    a=((), (1.0,)),
    b=(1 / 2, 1 / 2),
    c=(0.0, 1.0),
    order=2,
    error=(-1 / 2, 1 / 2),
    embedded_order=1,
)

MIDPOINT = Tableau(
    a=((), (1 / 2,)),
    b=(0.0, 1.0),
    c=(0.0, 1 / 2),
    order=2,
    error=(-1.0, 1.0),
    embedded_order=1,
)

RALSTON = Tableau(
    a=((), (2 / 3,)),
    b=(1 / 4, 3 / 4),
    c=(0.0, 2 / 3),
    order=2,
    error=(-3 / 4, 3 / 4),
    embedded_order=1,
)

SSPRK3 = Tableau(
    a=((), (1.0,), (1 / 4, 1 / 4)),
    b=(1 / 6, 1 / 6, 2 / 3),
    c=(0.0, 1.0, 1 / 2),
    order=3,
    error=(-1 / 3, -1 / 3, 2 / 3),
    embedded_order=2,
)

RK4 = Tableau(
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    order=4,
)

BOSH3 = Tableau(
    a=((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0.0),
    c=(0.0, 1 / 2, 3 / 4, 1.0),
    order=3,
    error=(2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
    embedded_order=2,
)

DOPRI5 = Tableau(
    a=(
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    b=(35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    order=5,
    error=(
        71 / 57600,
        0.0,
        -71 / 16695,
        71 / 1920,
        -17253 / 339200,
        22 / 525,
        -1 / 40,
    ),
    embedded_order=4,
    bend=(
        -12715105075 / 11282082432,
        0.0,
        87487479700 / 32700410799,
        -10690763975 / 1880347072,
        701980252875 / 199316789632,
        -1453857185 / 822651844,
        69997945 / 29380423,
    ),
)

TSIT5 = Tableau(
    a=(
        (),
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (
            5.86145544294642,
            -12.92096931784711,
            8.159367898576159,
            -0.071584973281401,
            -0.028269050394068383,
        ),
        (
            0.09646076681806523,
            0.01,
            0.4798896504144996,
            1.379008574103742,
            -3.290069515436081,
            2.324710524099774,
        ),
    ),
    b=(
        0.09646076681806523,
        0.01,
        0.4798896504144996,
        1.379008574103742,
        -3.290069515436081,
        2.324710524099774,
        0.0,
    ),
    c=(0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0),
    order=5,
    error=(
        0.0017800110522257773,
        0.0008164344596567463,
        -0.007880878010261994,
        0.1447110071732629,
        -0.5823571654525552,
        0.45808210592918686,
        -0.015151515151515152,
    ),
    embedded_order=4,
    # The leading coefficients of the interpolating polynomials of Tsitouras (2011).
    bend=(
        -1.0530884977290216,
        0.1017,
        2.490627285651252793,
        -16.54810288924490272,
        47.37952196281928122,
        -34.87065786149660974,
        2.5,
    ),
)
