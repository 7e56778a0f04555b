"""Methods whose unknown is the dynamics of observed series."""

from continua.methods.dynamics.directed_chain import DirectedChain
from continua.methods.dynamics.fractional import FractionalSDE
from continua.methods.dynamics.latent import LatentODE, LatentSDE
from continua.methods.dynamics.latent_video import LatentVideo
from continua.methods.dynamics.neural_cde import NeuralCDE, read_along
from continua.methods.dynamics.neural_ode import NeuralODE
from continua.methods.dynamics.neural_sde import NaiveNeuralSDE
from continua.methods.dynamics.recurrent import GRU
from continua.methods.dynamics.regularise import SolverRegulariser
from continua.methods.dynamics.reservoir import Reservoir
from continua.methods.dynamics.sde_gan import SDEGAN
from continua.methods.dynamics.sindy import SINDy
from continua.methods.dynamics.stable_sde import GeometricSDE, LangevinSDE, LinearNoiseSDE
from continua.methods.dynamics.state_space import StateSpace
from continua.methods.dynamics.teacher_forcing import TeacherForcing

__all__ = [
    "GRU",
    "SDEGAN",
    "FractionalSDE",
    "DirectedChain",
    "GeometricSDE",
    "LangevinSDE",
    "LatentODE",
    "LatentSDE",
    "LatentVideo",
    "LinearNoiseSDE",
    "NaiveNeuralSDE",
    "NeuralCDE",
    "NeuralODE",
    "Reservoir",
    "SINDy",
    "SolverRegulariser",
    "StateSpace",
    "TeacherForcing",
    "read_along",
]
