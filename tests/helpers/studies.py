"""A study of four tiny runs, without a command line."""

from pathlib import Path
from typing import Any

from audiostride.config import recipe as recipes
from audiostride.studies import plan
from audiostride.studies.results import Rows, tables

RECIPE: dict[str, Any] = {
    "model": {"channels": [4, 6], "strides": [[2, 2], [2, 2]]},
    "training": {
        "steps": 2,
        "validate_every": 1,
        "batch_size": 6,
        "learning_rate": 3e-3,
        "stride_learning_rate": 0.05,
    },
}
STUDY = """
recipe: tiny.yaml
grid:
  model.downsampling: [strided, diffstride]
  training.seed: [0, 1]
"""
NAMES = ["strided-0", "strided-1", "diffstride-0", "diffstride-1"]


def expand(study: str) -> list[plan.Run]:
    """The runs of a study without a command line."""
    Path("x.yaml").write_text(study)
    return plan.expand(plan.read(Path("x.yaml")), Path("runs"), recipes.build)


def made(runs: Path) -> dict[str, Rows]:
    """The tables of the study, without a command line."""
    study = plan.read(Path("s.yaml"))
    return tables(study, plan.expand(study, runs, recipes.build))
