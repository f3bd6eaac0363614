"""What a run shows and logs while it trains: progress bar, metrics.jsonl, end at divergence or SIGTERM."""

import math
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ProgressBar
from tqdm import tqdm

from audiostride.config.run_folder import METRICS, metrics_line, read_metrics
from audiostride.errors import UserError
from audiostride.files import replace_when_complete
from audiostride.training.lightning_module import ClassifierTraining


class Progress(ProgressBar):
    """Shows one bar over all steps of the run on standard error, with loss, accuracy and the time left."""

    def __init__(self) -> None:
        super().__init__()
        self.bar: tqdm | None = None
        self.updated = 0.0
        # Seconds between updates. In a log file every update is a line, but not in a terminal or a notebook.
        self.interval = 0.5 if sys.stderr.isatty() or "ipykernel" in sys.modules else 30.0

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
        # Reading a metric waits for the device, so it is not done at every step.
        if time.monotonic() - self.updated > self.interval:
            self.bar.set_postfix_str(_loss_and_accuracy(trainer, "train"), refresh=False)
            self.updated = time.monotonic()
        self.bar.update(trainer.global_step - self.bar.n)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.bar is not None:
            line = f"step {trainer.global_step}: {_loss_and_accuracy(trainer, 'valid')}"
            self.bar.write(line, file=sys.stderr)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.close()

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _loss_and_accuracy(trainer: Trainer, split: str) -> str:
    """Return for example "valid loss 0.345, accuracy 87.1 %", from the metrics logged last."""
    metrics = _logged_metrics(trainer)
    accuracies = [value for name, value in metrics.items() if name.startswith(f"{split}/accuracy/")]
    if f"{split}/loss" not in metrics or not accuracies:
        return ""
    mean = 100 * sum(accuracies) / len(accuracies)
    return f"{split} loss {metrics[f'{split}/loss']:.3f}, accuracy {mean:.1f} %"


def _logged_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the metrics logged last, without those of tasks that have had no window yet (NaN)."""
    metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: value for name, value in metrics.items() if not math.isnan(value)}


class MetricsLog(Callback):
    """Appends one JSON object per validation to metrics.jsonl: step, seconds of training, metrics, strides.

    The strides are (time, frequency) of each block. If the frontend learns its resolution, its own pair is in
    a field of its own, frontend_strides.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        self.file = run / METRICS
        self.seconds = 0.0
        self.last_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove what a resumed run logged after the checkpoint that it continues from."""
        self.started = time.monotonic()
        if not trainer.is_global_zero:
            return
        lines = [line for line in read_metrics(self.file) if line["step"] <= trainer.global_step]
        with replace_when_complete(self.file) as new:
            new.write_text("".join(map(metrics_line, lines)))
        self.last_step = trainer.global_step
        if lines:
            self.seconds = lines[-1]["seconds"]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Append a line, also in runs without validation.

        Lightning ends the epoch of a resumed run a second time: that step is not logged again.
        """
        if not trainer.is_global_zero or trainer.global_step == self.last_step:
            return
        self.last_step = trainer.global_step
        line = {
            "step": trainer.global_step,
            "seconds": round(self.seconds + time.monotonic() - self.started, 1),
            "metrics": _logged_metrics(trainer),
            **_strides(pl_module),
        }
        with self.file.open("a") as file:
            file.write(metrics_line(line))


def _strides(pl_module: LightningModule) -> dict[str, Any]:
    """Return the strides of each block, and those of a frontend that learns its resolution."""
    assert isinstance(pl_module, ClassifierTraining)
    classifier = pl_module.classifier
    strides = {"strides": classifier.trunk.strides.tolist()}
    resampling = classifier.frontend.strides
    return strides if resampling is None else strides | {"frontend_strides": resampling.tolist()}


class StopOnSigterm(Callback):
    """Ends training at SIGTERM as at Ctrl-C. Lightning would wait for the end of the batch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's handler. Lightning restores the one before at the end."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)


class StopWhenDiverged(Callback):
    """Ends a run whose loss is NaN or infinite, before its checkpoint replaces a good one."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        loss = trainer.callback_metrics.get("train/loss")
        if loss is not None and not math.isfinite(loss):
            raise divergence_error(trainer.global_step)


def divergence_error(step: int) -> UserError:
    """Return the error for training that diverged before `step`."""
    return UserError(
        f"training diverged before step {step} (its loss is not finite): lower training.learning_rate or "
        "training.stride_learning_rate"
    )
