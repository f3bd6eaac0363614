"""Downsampling layers over torch alone."""

from audiostride.layers.blur_pool import BlurPool1d
from audiostride.layers.complexity import complexity
from audiostride.layers.conv_downsample import ConvDownsample
from audiostride.layers.cost import activations, cost
from audiostride.layers.diffstride import DiffStride1d, DiffStride2d, DiffStride3d
from audiostride.layers.learned_strides import freeze_, parameter_groups, project_, read_strides
from audiostride.layers.replace_strides import Replacements, replace_strides
from audiostride.layers.spectral_pool import SpectralPool1d, SpectralPool2d, SpectralPool3d
from audiostride.layers.window import Window

__all__ = [
    "BlurPool1d",
    "ConvDownsample",
    "DiffStride1d",
    "DiffStride2d",
    "DiffStride3d",
    "Replacements",
    "SpectralPool1d",
    "SpectralPool2d",
    "SpectralPool3d",
    "Window",
    "activations",
    "complexity",
    "cost",
    "freeze_",
    "parameter_groups",
    "project_",
    "read_strides",
    "replace_strides",
]
