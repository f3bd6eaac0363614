"""What a run tells and keeps while it trains: a progress bar, a log of validations, checkpoints."""

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, ProgressBar
from tqdm import tqdm

from audiostride.config.run_folder import CHECKPOINTS, METRICS, read_metrics
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.training.lightning_module import ClassifierTraining


class Progress(ProgressBar):
    """One bar over all steps of the run, with loss, accuracy and the time left, on standard error."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: tqdm | None = None
        self.shown = 0.0
        # A log file is no screen: a line now and then is enough.
        self.interval = 0.5 if sys.stderr.isatty() else 30.0

    def disable(self) -> None:
        self.bar = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.bar = tqdm(
            total=trainer.max_steps,
            initial=trainer.global_step,
            desc="training",
            unit="step",
            dynamic_ncols=True,
            mininterval=self.interval,
            maxinterval=self.interval,
        )

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if self.bar is None:
            return
        # Reading a metric waits for the device, so not at every step.
        if time.monotonic() - self.shown > self.interval:
            self.bar.set_postfix_str(_in_words(trainer, "train"), refresh=False)
            self.shown = time.monotonic()
        self.bar.update(trainer.global_step - self.bar.n)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.bar is not None:
            self.bar.write(f"step {trainer.global_step}: {_in_words(trainer, 'valid')}", file=sys.stderr)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _in_words(trainer: Trainer, split: str) -> str:
    """ "loss 0.345, accuracy 87.1 %" from the metrics logged last."""
    metrics = _known(trainer)
    accuracies = [value for name, value in metrics.items() if name.startswith(f"{split}/accuracy/")]
    if f"{split}/loss" not in metrics or not accuracies:
        return ""
    mean = 100 * sum(accuracies) / len(accuracies)
    return f"{split} loss {metrics[f'{split}/loss']:.3f}, accuracy {mean:.1f} %"


def _known(trainer: Trainer) -> dict[str, float]:
    """What was logged last, but for tasks of which no window has come yet."""
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


class MetricsLog(Callback):
    """Appends a JSON object per validation to metrics.jsonl: step, seconds of training, metrics, strides."""

    def __init__(self, run: Path) -> None:
        self.file = run / METRICS
        self.seconds = 0.0
        self.logged = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A resumed run forgets what it logged after the checkpoint that it goes on from."""
        self.started = time.monotonic()
        if not trainer.is_global_zero:
            return
        lines = [line for line in read_metrics(self.file) if line["step"] <= trainer.global_step]
        with replace_when_complete(self.file) as new:
            new.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        if lines:
            self.seconds, self.logged = lines[-1]["seconds"], lines[-1]["step"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Once per interval, also where there is nothing to validate; Lightning ends a resumed one again."""
        if not trainer.is_global_zero or trainer.global_step == self.logged:
            return
        self.logged = trainer.global_step
        line = {
            "step": trainer.global_step,
            "seconds": round(self.seconds + time.monotonic() - self.started, 1),
            "metrics": _known(trainer),
            "strides": _strides(pl_module),
        }
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _strides(pl_module: LightningModule) -> list[list[float]]:
    assert isinstance(pl_module, ClassifierTraining)
    return pl_module.classifier.trunk.strides.tolist()


class KeepCheckpoint(ModelCheckpoint):
    """Saves at the end of Lightning's epoch, not of the validation within it, so that a run resumes cleanly.

    Remembers which was the best also where the run's folder has moved since.
    """

    def __init__(self, run: Path, name: str, monitor: str | None = None) -> None:
        super().__init__(
            run / CHECKPOINTS,
            name,
            monitor=monitor,
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    @property
    def state_key(self) -> str:
        """Lightning's own has no file name, and is the same for two that monitor nothing."""
        return f"KeepCheckpoint {self.filename}"

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        here = Path(str(self.dirpath))
        paths = {name: path for name, path in state_dict.items() if name.endswith("_path") and path}
        moved = {name: str(here / Path(path).name) for name, path in paths.items()}
        models = {str(here / Path(path).name): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | moved | {"dirpath": str(here), "best_k_models": models})


class StopWhenDiverged(Callback):
    """Ends a run whose loss is no number any more, before its checkpoint takes the place of a good one."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None and not math.isfinite(loss):
            raise diverged(trainer.global_step)


def diverged(step: int) -> UserError:
    return UserError(
        f"training diverged before step {step}, its loss is no number: lower training.learning_rate or "
        "training.stride_learning_rate"
    )
