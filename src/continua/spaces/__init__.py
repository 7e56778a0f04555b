"""Spaces: how functions of space are held, differentiated and evaluated."""

from continua.spaces.base import AbstractSpace
from continua.spaces.chebyshev import ChebyshevBoundary, ChebyshevSpace
from continua.spaces.finite_difference import FiniteDifferenceSpace
from continua.spaces.finite_volume import FiniteVolumeSpace
from continua.spaces.fourier import FourierSpace
from continua.spaces.point_cloud import PointCloud, PointCloudSpace
from continua.spaces.reconstruct import MUSCL, WENO5, Minmod, MonotonizedCentral, VanLeer
from continua.spaces.riemann import HLLC, Rusanov
from continua.spaces.scatter import cloud_in_box, cloud_in_region
from continua.spaces.sine_cosine import SineCosineSpace, SineCosineStates
from continua.spaces.walls import Boundary, WallCondition

__all__ = [
    "HLLC",
    "MUSCL",
    "WENO5",
    "AbstractSpace",
    "Boundary",
    "ChebyshevBoundary",
    "ChebyshevSpace",
    "FiniteDifferenceSpace",
    "FiniteVolumeSpace",
    "FourierSpace",
    "Minmod",
    "MonotonizedCentral",
    "PointCloud",
    "PointCloudSpace",
    "Rusanov",
    "SineCosineSpace",
    "SineCosineStates",
    "VanLeer",
    "WallCondition",
    "cloud_in_box",
    "cloud_in_region",
]
