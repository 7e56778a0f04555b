"""Methods: how a problem is solved, classical, learned or trivial."""

from continua.core.errors import InputError, suggest
from continua.methods.classical.chebyshev import Chebyshev
from continua.methods.classical.choose import best_classical
from continua.methods.classical.delay import DelayRungeKutta
from continua.methods.classical.finite_differences import FiniteDifferences
from continua.methods.classical.finite_elements import FiniteElements
from continua.methods.classical.finite_volumes import FiniteVolumes
from continua.methods.classical.forecasters import ARIMA, ETS
from continua.methods.classical.gauss_newton import GaussNewton
from continua.methods.classical.implicit import ImplicitRungeKutta
from continua.methods.classical.kalman import KalmanSmoother
from continua.methods.classical.linear import Direct, Krylov
from continua.methods.classical.multigrid import Multigrid
from continua.methods.classical.parameter_fit import ParameterFit
from continua.methods.classical.point_clouds import RadialBasisFiniteDifferences
from continua.methods.classical.random_convolutions import RandomConvolutions
from continua.methods.classical.runge_kutta import RK4, RungeKutta
from continua.methods.classical.spectral import Spectral
from continua.methods.classical.state_space import (
    IntegratedWiener,
    LinearSDE,
    Matern,
    Oscillator,
    Sum,
)
from continua.methods.classical.stochastic import StochasticIntegrator
from continua.methods.classical.tikhonov import Tikhonov
from continua.methods.classical.trivial import Mean, Persistence
from continua.methods.dynamics import (
    GRU,
    SDEGAN,
    DirectedChain,
    FractionalSDE,
    GeometricSDE,
    LangevinSDE,
    LatentODE,
    LatentSDE,
    LatentVideo,
    LinearNoiseSDE,
    NaiveNeuralSDE,
    NeuralCDE,
    NeuralODE,
    Reservoir,
    SINDy,
    SolverRegulariser,
    StateSpace,
    TeacherForcing,
    read_along,
)
from continua.methods.fields import PINN
from continua.methods.operators import FNO

METHODS = {
    cls.__name__: cls
    for cls in (
        Spectral,
        FiniteDifferences,
        FiniteElements,
        Chebyshev,
        Multigrid,
        RadialBasisFiniteDifferences,
        FiniteVolumes,
        RungeKutta,
        RK4,
        ImplicitRungeKutta,
        DelayRungeKutta,
        StochasticIntegrator,
        ParameterFit,
        KalmanSmoother,
        ARIMA,
        ETS,
        RandomConvolutions,
        Tikhonov,
        GaussNewton,
        PINN,
        FNO,
        NeuralODE,
        SINDy,
        LatentODE,
        LatentSDE,
        FractionalSDE,
        LatentVideo,
        DirectedChain,
        SDEGAN,
        TeacherForcing,
        Reservoir,
        GRU,
        StateSpace,
        NeuralCDE,
        LangevinSDE,
        LinearNoiseSDE,
        GeometricSDE,
        NaiveNeuralSDE,
        Mean,
        Persistence,
    )
}


def get_method(name: str) -> type:
    """The class of a registered method.

    **Arguments:**

    - `name`: as in `METHODS`; upper and lower case are the same.

    **Raises:** `InputError` for an unknown name.
    """
    for known, cls in METHODS.items():
        if known.lower() == name.lower():
            return cls
    raise InputError(f"unknown method '{name}'", where="method", fix=suggest(name, METHODS))


__all__ = [
    "ARIMA",
    "ETS",
    "DelayRungeKutta",
    "DirectedChain",
    "FNO",
    "GRU",
    "METHODS",
    "PINN",
    "RK4",
    "Chebyshev",
    "Direct",
    "FiniteDifferences",
    "Krylov",
    "Multigrid",
    "FiniteElements",
    "FiniteVolumes",
    "FractionalSDE",
    "GaussNewton",
    "GeometricSDE",
    "ImplicitRungeKutta",
    "IntegratedWiener",
    "KalmanSmoother",
    "LangevinSDE",
    "LatentODE",
    "LatentSDE",
    "LatentVideo",
    "LinearNoiseSDE",
    "LinearSDE",
    "Matern",
    "Mean",
    "NaiveNeuralSDE",
    "NeuralCDE",
    "NeuralODE",
    "Oscillator",
    "ParameterFit",
    "Persistence",
    "RadialBasisFiniteDifferences",
    "Reservoir",
    "RandomConvolutions",
    "RungeKutta",
    "SDEGAN",
    "SINDy",
    "SolverRegulariser",
    "Spectral",
    "StateSpace",
    "StochasticIntegrator",
    "Sum",
    "TeacherForcing",
    "Tikhonov",
    "best_classical",
    "get_method",
    "read_along",
]
