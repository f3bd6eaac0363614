"""The datasets that `audiostride prepare` can read, one per module."""

from audiostride.corpora import acoustic_scenes, birdsong, csv_file, folder, nsynth, speech_commands
from audiostride.corpora.base import Corpus, Dataset, Problem, Recording

DATASETS: dict[str, Dataset] = {
    "speech_commands": speech_commands.DATASET,
    "nsynth": nsynth.DATASET,
    "birdsong": birdsong.DATASET,
    "acoustic_scenes": acoustic_scenes.DATASET,
    "folder": folder.DATASET,
    "csv": csv_file.DATASET,
}

__all__ = ["DATASETS", "Corpus", "Dataset", "Problem", "Recording"]
