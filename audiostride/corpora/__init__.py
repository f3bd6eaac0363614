"""The datasets that can be prepared, one file each."""

from audiostride.corpora import speech_commands
from audiostride.corpora.base import Corpus, Reader, Recording

READERS: dict[str, Reader] = {"speech_commands": speech_commands.read}

__all__ = ["READERS", "Corpus", "Reader", "Recording"]
