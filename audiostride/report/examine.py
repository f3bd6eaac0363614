"""The numbers in a report about a run: accuracies, data, cost, settings; and the commands to repeat it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import torch

from audiostride.allocator import keep_freed_memory
from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.resolution import as_text, learns_resolution, resolution_table
from audiostride.analysis.summary import summarise_classifier
from audiostride.analysis.trained import TrainedRun
from audiostride.config.differences import changed, flat
from audiostride.config.recipe import base_of
from audiostride.config.run_folder import checkpoint_path, last_checkpoint
from audiostride.config.settings import Recipe
from audiostride.data.examples import Examples
from audiostride.errors import UserError
from audiostride.frontends.frontend import SoundFrontend
from audiostride.models.classifier import Classifier
from audiostride.models.loading import read_checkpoint
from audiostride.timing import in_turns
from audiostride.training.evaluate import Evaluation, evaluation, open_run_data
from audiostride.training.provenance import Rows, commands, data_tables

# Batch sizes, in windows, that speed is measured with, and the number of measurements of each.
BATCHES, _ROUNDS = (1, 32), 5


@dataclass
class Examination:
    """What a report says about a run.

    Attributes:
        run: the run as read from its folder.
        title: how its recipe differs from those of the other runs in the report.
        step: training step of its checkpoint, or None if it is not known.
        written: day on which its last checkpoint was written.
        checkpoint: "best" or "last" of a run folder, "as given" for a checkpoint file or a model folder.
        evaluation: result of the test, or None if the run cannot be tested.
        tasks: a row per task, see `data_tables`; empty if a corpus cannot be read.
        corpora: a row per prepared corpus, see `data_tables`; empty if a corpus cannot be read.
        milliseconds: computing time per second of sound, by batch size.
        commands: commands that prepare, train and test the same run.
        notes: sentences that readers of the numbers should know.
    """

    run: TrainedRun
    title: str
    step: int | None
    written: date
    checkpoint: str
    evaluation: Evaluation | None = None
    tasks: Rows = field(default_factory=list)
    corpora: Rows = field(default_factory=list)
    milliseconds: dict[int, float] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def accuracies(self) -> Rows:
        """A row per tested task, see `evaluate`."""
        return self.evaluation.rows if self.evaluation else []

    @property
    def strides(self) -> Rows:
        """A row per layer and axis, see `stride_table`."""
        return stride_table(self.run.classifier)

    @property
    def resolution(self) -> Rows:
        """A row per quantity that the frontend resolves, see `resolution_table`."""
        return resolution_table(self.run.classifier)

    @property
    def learns_resolution(self) -> bool:
        """Whether the frontend learns its resolution."""
        return learns_resolution(self.run.classifier.frontend)

    @property
    def resolution_text(self) -> Rows:
        """`resolution` for people to read."""
        return as_text(self.resolution)

    @property
    def frontend_text(self) -> str:
        """The kind of the frontend, and what it takes."""
        classifier = self.run.classifier
        kind = classifier.frontend_settings.kind.replace("_", " ")
        if isinstance(classifier.frontend, SoundFrontend):
            return f"{kind}, {classifier.sample_rate:,} Hz"
        return f"{kind}, {classifier.frontend.takes}"

    @property
    def one_example(self) -> str:
        """What the network takes at once, in words."""
        classifier = self.run.classifier
        if isinstance(classifier.frontend, SoundFrontend):
            return f"a window of {classifier.window_s:g} s"
        return f"an image of {' × '.join(map(str, classifier.input_size()))} pixels"

    @property
    def parameters(self) -> int:
        """Number of parameters of frontend, trunk and heads."""
        return sum(parameter.numel() for parameter in self.run.classifier.parameters())

    @property
    def mega_macs(self) -> float:
        """Multiply-accumulates of the network for one window, in millions, without those of the frontend."""
        return self._mega_macs("all")

    @property
    def frontend_mega_macs(self) -> float:
        """Multiply-accumulates of the frontend for one window, in millions."""
        return self._mega_macs("frontend")

    def _mega_macs(self, layer: str) -> float:
        (row,) = (row for row in summarise_classifier(self.run.classifier) if row["layer"] == layer)
        return row["mega_macs"]


def examine(run: TrainedRun, title: str, split: str, checkpoint: str) -> Examination:
    """Test a run and describe its data. If a part is not available, a note says why.

    Args:
        run: a run, as it was read.
        title: see `Examination`.
        split: split of the corpora to test on, "test", "valid" or "train".
        checkpoint: "best" or "last".
    """
    folder = Path(run.name)
    chosen, last = checkpoint_path(folder, checkpoint), last_checkpoint(folder)
    written = date.fromtimestamp((last if last.is_file() else chosen).stat().st_mtime)
    saved = read_checkpoint(chosen)
    kind = "as given" if chosen == folder else checkpoint
    examined = Examination(run, title, saved["global_step"], written, kind)
    stores: Sequence[Examples] = ()
    try:
        data = open_run_data(run, saved)
        stores = data.stores
        examined.tasks, examined.corpora = data_tables(data)
        examined.notes += [f"{store.folder}: {note}" for store in stores for note in store.card["notes"]]
        examined.evaluation = evaluation(folder, split, checkpoint)
    except (UserError, OSError) as error:
        examined.notes.append(f"{run.name} cannot be tested: {error}")
    else:
        untested = run.classifier.labels.keys() - {row["task"] for row in examined.accuracies}
        examined.notes += [
            f"{run.name} is not tested on {task}: there are no {split} recordings of it"
            for task in run.classifier.labels
            if task in untested
        ]
    examined.commands = commands(run, stores, split, checkpoint)
    return examined


def settings_tables(recipe: Recipe) -> tuple[Rows, Rows]:
    """Return a row per setting that differs from the paper's, with both values, and a row per setting."""
    _, of_paper = base_of(recipe)
    different = [
        {"setting": name, "here": setting_text(here), "in_the_paper": setting_text(paper)}
        for name, (paper, here) in changed(of_paper, recipe).items()
    ]
    every = [{"setting": name, "value": setting_text(value)} for name, value in flat(recipe).items()]
    return different, every


def setting_text(value: Any) -> str:
    """Return a setting as it is written on the command line, or a dash for None."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def measure_speed(examined: Sequence[Examination]) -> None:
    """Measure all runs in turns on the CPU, and set their `milliseconds`."""
    keep_freed_memory()
    functions = {
        (number, batch): _inference(one.run.classifier, batch, one.run.recipe.data.window_s)
        for number, one in enumerate(examined)
        for batch in BATCHES
    }
    for (number, batch), milliseconds in in_turns(functions, _ROUNDS).items():
        one = examined[number]
        one.milliseconds[batch] = milliseconds / (batch * one.run.recipe.data.window_s)


def _inference(classifier: Classifier, batch: int, window_s: float) -> Callable[[], Any]:
    waveforms = torch.rand(batch, *classifier.frontend.example_shape(window_s)) - 0.5
    return torch.inference_mode()(lambda: classifier(waveforms))
