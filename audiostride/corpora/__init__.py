"""The datasets that can be prepared, one file each."""

from audiostride.corpora import acoustic_scenes, birdsong, folder, nsynth, speech_commands
from audiostride.corpora import csv_file as table
from audiostride.corpora.base import Corpus, Dataset, Problem, Recording

DATASETS: dict[str, Dataset] = {
    "speech_commands": speech_commands.DATASET,
    "nsynth": nsynth.DATASET,
    "birdsong": birdsong.DATASET,
    "acoustic_scenes": acoustic_scenes.DATASET,
    "folder": folder.DATASET,
    "csv": table.DATASET,
}

__all__ = ["DATASETS", "Corpus", "Dataset", "Problem", "Recording"]
