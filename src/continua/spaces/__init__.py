"""Spaces: how functions of space are held, differentiated and evaluated."""

from continua.spaces.base import AbstractSpace
from continua.spaces.finite_difference import FiniteDifferenceSpace
from continua.spaces.fourier import FourierSpace
from continua.spaces.walls import Boundary, WallCondition

__all__ = ["AbstractSpace", "Boundary", "FiniteDifferenceSpace", "FourierSpace", "WallCondition"]
