"""A trained model as a folder, with a card that says its data, accuracy, cut-offs and commands."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audiostride.analysis.cutoffs import stride_table
from audiostride.analysis.trained import TrainedRun, open_run
from audiostride.config.run_folder import checkpoint_path
from audiostride.data.datamodule import CorpusModule
from audiostride.errors import UserError
from audiostride.frontends.frontend import SoundFrontend
from audiostride.models.loading import read_checkpoint
from audiostride.models.model_card import commands_text, model_card, plain
from audiostride.models.model_folder import check_target, describe
from audiostride.tables import Interval, render
from audiostride.training.evaluate import Evaluation, evaluation, open_run_data
from audiostride.training.provenance import commands, data_tables

logger = logging.getLogger(__name__)

# Columns of `stride_table` in the card.
_CUTOFFS = ("layer", "axis", "stride", "effective_stride", "pass_band", "half_amplitude", "stop_band", "unit")


def export_folder(
    name: str, folder: Path, *, checkpoint: str = "best", split: str = "test", license: str | None = None
) -> list[dict[str, Any]]:
    """Save a trained model as a model folder, after testing it for its card.

    If its corpora are not at hand, a warning and the card say so.

    Args:
        name: a run folder, a checkpoint file or a model folder.
        folder: a new or empty folder, or a model folder, which is replaced.
        checkpoint: "best" or "last", of a run folder.
        split: split to test on, "test", "valid" or "train".
        license: license of the model for the card, such as "cc-by-4.0".

    Returns:
        The rows of `evaluate`; none if the model cannot be tested.

    Raises:
        UserError: if the model cannot be read, or the folder holds other files than a model's.
    """
    check_target(folder)
    run = open_run(name, checkpoint)
    if run.recipe_known:  # a checkpoint of an earlier version does not hold it
        run.classifier.origin["recipe"] = asdict(run.recipe)
    config, _ = describe(run.classifier)
    title = folder.resolve().name
    metadata: dict[str, Any] = {"license": license} if license else {}
    sections = {"Strides and cut-offs": _strides(run)}
    tested: Evaluation | None = None
    try:
        data = open_run_data(run, read_checkpoint(checkpoint_path(Path(name), checkpoint)))
        logger.info(f"{name}: testing on the {split} split, for the model card")
        tested = evaluation(Path(name), split, checkpoint)
        metadata |= _results(tested, data, title)
        sections |= {"Accuracy": _accuracy(tested), "Data": _data_section(data)}
        made_by = commands(run, data.stores, split, checkpoint)
        sections |= {"Training": commands_text(run.classifier.origin.get("step"), made_by)}
    except (UserError, OSError) as error:
        logger.warning(f"{name} cannot be tested, so its card shows no accuracy: {error}")
        sections["Accuracy"] = "Not tested when this card was made."
    run.classifier.save(folder, model_card(config, title, metadata, sections))
    of_sound = isinstance(run.classifier.frontend, SoundFrontend)
    use = f"audiostride predict {folder} FILES, or " if of_sound else ""
    logger.info(f"{folder}: done; next: {use}push it to a hub from Python")
    return tested.rows if tested else []


def _results(tested: Evaluation, data: CorpusModule, title: str) -> dict[str, Any]:
    """Return the entries of the card's metadata with the accuracies, as the hub reads them."""
    medium = "audio" if data.has_groups else "image"
    results = [
        {
            "task": {"type": f"{medium}-classification", "name": row["task"]},
            "dataset": {"type": corpora, "name": corpora, "split": row["split"]},
            "metrics": [
                {"type": "accuracy", "value": round(row["accuracy_percent"] / 100, 4)},
                {"type": "f1", "name": "Macro F1", "value": round(row["macro_f1_percent"] / 100, 4)},
            ],
        }
        for row in tested.rows
        for corpora in [
            ", ".join(store.card["corpus"] for store in data.stores if row["task"] in store.tasks)
        ]
    ]
    return {"metrics": ["accuracy", "f1"], "model-index": [{"name": title, "results": results}]}


def _corpora(data: CorpusModule, task: str) -> str:
    """Return the names of the corpora of a task."""
    return ", ".join(store.card["corpus"] for store in data.stores if task in store.tasks)


_HOW_SOUND = (
    " Logits are averaged over the windows of each recording. Recordings of a group, such as a speaker, are "
    "all in the same split."
)


def _accuracy(tested: Evaluation) -> str:
    rows = [
        {
            "task": row["task"],
            "accuracy": Interval(row["accuracy_percent"], row["low_percent"], row["high_percent"]),
            "macro_F1": f"{row['macro_f1_percent']:.1f}",
            **{name: row[name] for name in ("recordings", "groups", "images", "split") if name in row},
        }
        for row in tested.rows
    ]
    notes = "".join(f"\n- {plain(note)}" for note in dict.fromkeys(tested.notes))
    how = "" if "images" in rows[0] else _HOW_SOUND
    return (
        f"In percent, with the 95 % confidence interval of the accuracy.{how}\n\n"
        f"{render(rows, 'markdown')}{notes and f'{chr(10)}{notes}'}"
    )


def _data_section(data: CorpusModule) -> str:
    tasks, _ = data_tables(data)
    corpora = [store.card_row() for store in data.stores]
    tables = [render(rows, "markdown") for rows in (tasks, corpora)]
    return f"{data.noun.capitalize()} of each task:\n\n{tables[0]}\n\nCorpora:\n\n{tables[1]}"


def _strides(run: TrainedRun) -> str:
    rows = [{name: row[name] for name in _CUTOFFS} for row in stride_table(run.classifier)]
    frontend = "" if run.classifier.frontend.strides is None else " Layer 0 is the frontend."
    return (
        f"For {run.classifier.example_text}. Each layer passes what is below its pass band, and "
        f"removes what is above its stop band; a dash stands for an edge that does not exist.{frontend}\n\n"
        f"{render(rows, 'markdown')}"
    )
