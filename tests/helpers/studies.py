"""A study of four tiny runs, and its parts without a command line."""

from pathlib import Path
from typing import Any

from audiostride.config import recipe as recipes
from audiostride.config import yaml
from audiostride.data.store import Store
from audiostride.studies import plan, study_file
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


def write_study(folder: Path, store: Store) -> Path:
    """Create a folder with the study s.yaml and its recipe tiny.yaml on a prepared corpus."""
    folder.mkdir()
    (folder / "tiny.yaml").write_text(yaml.dump(RECIPE | {"data": {"corpus": str(store.folder)}}))
    (folder / "s.yaml").write_text(STUDY)
    return folder


def expand(study: str) -> list[plan.Run]:
    """Return the runs of a study without a command line."""
    Path("x.yaml").write_text(study)
    return plan.expand(study_file.read(Path("x.yaml")), Path("runs"), recipes.build)


def study_tables(runs: Path) -> dict[str, Rows]:
    """Return the tables of the study s.yaml without a command line."""
    study = study_file.read(Path("s.yaml"))
    return tables(study, plan.expand(study, runs, recipes.build))
