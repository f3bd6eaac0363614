"""Sizes and cost of any network, and their derivatives by its learned strides, without computing it.

A dry run sends a tensor without values through a network. Each of its axes carries a real-valued length: what
the axis would have if lengths were not rounded to whole samples. So costs become smooth functions of strides.
"""

from audiostride.layers.dry_run.record import Axis, Map, Operation, Step
from audiostride.layers.dry_run.run import DryRun

__all__ = ["Axis", "DryRun", "Map", "Operation", "Step"]
