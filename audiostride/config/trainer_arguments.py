"""The arguments of Lightning's Trainer that a recipe may set, as plain values.

Every name and every kind of value is checked here, so that Lightning imports nothing that a file names.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from audiostride.config.messages import did_you_mean, wrong_value
from audiostride.config.ranges import AtLeast, Between, fits

_Count = Annotated[int, AtLeast(0)]
_PositiveCount = Annotated[int, AtLeast(1)]
_CountOrFraction = Annotated[int, AtLeast(0)] | Annotated[float, Between(0, 1)] | None
_Epochs = Annotated[int, AtLeast(1)] | Literal[-1] | None

# The types of the arguments that can be set.
ARGUMENTS: dict[str, Any] = {
    "accelerator": Literal["auto", "cpu", "gpu", "cuda", "mps"],
    "strategy": Literal[
        "auto",
        "ddp",
        "ddp_spawn",
        "ddp_fork",
        "ddp_notebook",
        "ddp_find_unused_parameters_true",
        "ddp_find_unused_parameters_false",
    ],
    "devices": Annotated[int, AtLeast(-1)] | list[_Count] | str,
    "num_nodes": _PositiveCount,
    "precision": Literal["32-true", "16-mixed", "bf16-mixed", "64-true", "16-true", "bf16-true"]
    | Literal[64, 32, 16, "64", "32", "16", "bf16"]
    | None,
    "max_epochs": _Epochs,
    "min_epochs": _Count | None,
    "min_steps": _Count | None,
    "max_time": str | None,
    "limit_val_batches": _CountOrFraction,
    "log_every_n_steps": _PositiveCount,
    "enable_progress_bar": bool | None,
    "accumulate_grad_batches": _PositiveCount,
    "gradient_clip_val": Annotated[float, AtLeast(0)] | None,
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "deterministic": bool | Literal["warn"] | None,
    "benchmark": bool | None,
    "inference_mode": bool,
    "profiler": Literal["simple", "advanced", "pytorch"] | None,
    "detect_anomaly": bool,
    "sync_batchnorm": bool,
    "enable_autolog_hparams": bool,
}

# Arguments that a recipe cannot set, with the reason.
_A_RUN_SETS_IT = "a run sets it itself"
REFUSED = {
    "max_steps": "set training.steps instead",
    "fast_dev_run": "set training.steps instead",
    "val_check_interval": "set training.validate_every instead",
    "check_val_every_n_epoch": "set training.validate_every instead",
    "default_root_dir": "set --out instead",
    "overfit_batches": "train on a small corpus instead",
    "limit_train_batches": "set training.steps or training.validate_every instead",
    "limit_test_batches": "training does not test",
    "limit_predict_batches": "training does not predict",
    "enable_model_summary": "call audiostride summary instead",
    "model_registry": "a run keeps its checkpoints in its folder",
    "barebones": "a run needs its log and its checkpoints",
    "logger": _A_RUN_SETS_IT,
    "callbacks": _A_RUN_SETS_IT,
    "enable_checkpointing": _A_RUN_SETS_IT,
    "reload_dataloaders_every_n_epochs": _A_RUN_SETS_IT,
    "use_distributed_sampler": _A_RUN_SETS_IT,
    "plugins": _A_RUN_SETS_IT,
    "num_sanity_val_steps": _A_RUN_SETS_IT,
}


def check_trainer_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise an error unless all arguments are plain values that Lightning's Trainer takes from a recipe.

    Raises:
        ValueError: an argument does not exist, cannot be set, or has a value of the wrong kind.
    """
    for name, value in arguments.items():
        if name in REFUSED:
            raise ValueError(f"trainer.{name} cannot be set: {REFUSED[name]}")
        if name not in ARGUMENTS:
            hint = did_you_mean(name, ARGUMENTS, "trainer.", "it takes")
            raise ValueError(f"trainer.{name} is not an argument of Lightning's Trainer: {hint}")
        if not fits(value, ARGUMENTS[name]):
            raise ValueError(wrong_value(f"trainer.{name}", value, ARGUMENTS[name]))
