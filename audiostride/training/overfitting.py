"""Notices at the end of a training that the network has learned its recordings by heart."""

import numpy as np

from audiostride.analysis.intervals import Outcomes, accuracy_interval
from audiostride.data.selection import Selection
from audiostride.frontends.frontend import SoundFrontend
from audiostride.tables import Interval
from audiostride.training.lightning_module import ClassifierTraining

# Difference between the accuracies in training and in validation, from one end of an interval to the other,
# above which a network overfits. A smaller one is usual: what was trained on is always easier.
_MARGIN = 0.1


def overfitting(module: ClassifierTraining, valid: Selection) -> str | None:
    """Return a sentence that says which tasks overfit and what to try, or None.

    A task overfits if its accuracy over the last interval of training is above that of the last validation by
    more than a tenth, even between the nearer ends of their 95 % confidence intervals (`accuracy_interval`):
    then it is no chance, neither of few recordings nor of few speakers.

    Args:
        module: what has just been trained.
        valid: the recordings that validate.
    """
    accuracies = {}
    for task, (correct, windows) in module.trained_windows.items():
        if task in module.outcomes and windows > 0:
            trained = accuracy_interval(np.arange(int(windows)) < int(correct))
            accuracies[task] = trained, _validation(module, valid, task)
    overfitted = [
        f"{task} training {100 * trained.value:.0f} %, validation {100 * validated.value:.0f} %"
        for task, (trained, validated) in accuracies.items()
        if trained.low - validated.high > _MARGIN
    ]
    return f"the model overfits: {'; '.join(overfitted)}: try {_remedies(module)}" if overfitted else None


def _validation(module: ClassifierTraining, valid: Selection, task: str) -> Interval:
    labels, predictions = module.outcomes[task].cpu().numpy().T
    groups = valid.groups[valid.labels[task] >= 0]
    if len(groups) != len(labels):  # trainer.limit_val_batches leaves recordings out
        groups = np.arange(len(labels), dtype=np.uint64)
    return Outcomes(labels, predictions, groups).accuracy


def _remedies(module: ClassifierTraining) -> str:
    """Return what helps against overfitting and is not used yet."""
    if not isinstance(module.classifier.frontend, SoundFrontend):
        return f"{', '.join([*_remedies_for_images(module), ''])}or more images"
    used, network, remedies = module.augmentation, module.classifier.settings, []
    if network.level == "unchanged" and not module.settings.init_from:
        remedies.append("--model.level rms")
    if not used.gain_db:
        remedies.append("--augmentation.gain_db 20")
    if not used.noise:
        remedies.append("--augmentation.noise FOLDER")
    if not used.shift_s:
        remedies.append("--augmentation.shift_s 0.1")
    if not (used.time_masks or used.frequency_masks):
        remedies.append("--augmentation.time_masks 2 --augmentation.frequency_masks 2")
    if not module.settings.init_from:
        remedies.append("fewer channels (--model.channels)")
    return f"{', '.join(remedies)}, or more recordings, of more speakers, instruments or places"


def _remedies_for_images(module: ClassifierTraining) -> list[str]:
    used = module.augmentation
    remedies = {
        "--augmentation.crop 4": used.crop,
        "--augmentation.flip true": used.flip,
        "--augmentation.mixup 0.2": used.mixup,
        "--training.weight_decay 5e-4": module.settings.weight_decay,
    }
    return [remedy for remedy, value in remedies.items() if not value]
