"""Downsampling layers over torch alone."""

from audiostride.layers.blur_pool import BlurPool1d
from audiostride.layers.complexity import complexity
from audiostride.layers.conv_downsample import Downsample
from audiostride.layers.diffstride import DiffStride1d, DiffStride2d, DiffStride3d, freeze_, project_
from audiostride.layers.spectral_pool import SpectralPool1d, SpectralPool2d, SpectralPool3d

__all__ = [
    "BlurPool1d",
    "DiffStride1d",
    "DiffStride2d",
    "DiffStride3d",
    "Downsample",
    "SpectralPool1d",
    "SpectralPool2d",
    "SpectralPool3d",
    "complexity",
    "freeze_",
    "project_",
]
