"""Compares exported models with PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from audiostride.export.plain import SHORTEST_S
from audiostride.models.classifier import Classifier

# Largest difference of logits in float32 that counts as rounding.
LARGEST_DIFFERENCE = 1e-4


def session(file: Path, threads: int = 1) -> Any:
    """Open an ONNX file in ONNX Runtime on the CPU.

    Args:
        file: the ONNX file.
        threads: number of threads.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def check_sounds(classifier: Classifier, samples: int | None, sounds: Sequence[Tensor] = ()) -> list[Tensor]:
    """Return batches of waveforms (batch, samples) to compare on: noise, a chirp and the sounds given.

    Args:
        classifier: the classifier, for its sample rate and windows.
        samples: length of all waveforms, or None for several lengths.
        sounds: waveforms (samples,), float32 in [−1, 1].
    """
    rate = classifier.sample_rate
    lengths = (
        [round(s * rate) for s in (SHORTEST_S, classifier.window_s, 2.345)] if samples is None else [samples]
    )
    generator = torch.Generator().manual_seed(0)
    batches = [
        0.1 * torch.randn(batch, length, generator=generator) for length in lengths for batch in (1, 3)
    ]
    batches += [_voice(length, rate).unsqueeze(0) for length in lengths]
    for sound in sounds:
        whole = sound if samples is None else functional.pad(sound, (0, max(0, samples - len(sound))))
        batches.append(whole[:samples].unsqueeze(0))
    return [batch.clamp(-1, 1) for batch in batches]


def _voice(length: int, rate: int) -> Tensor:
    """Return (samples,), a sound like a voice: harmonics that glide, in syllables, above a little noise."""
    seconds = torch.arange(length) / rate
    turns = 120 * seconds + 8 * torch.sin(2 * torch.pi * 1.3 * seconds)
    harmonics = sum(torch.sin(2 * torch.pi * k * turns) / k for k in range(1, 31))
    syllables = torch.sin(torch.pi * 2 * seconds).square()
    noise = torch.randn(length, generator=torch.Generator().manual_seed(1))
    return 0.2 * syllables * harmonics + 1e-3 * noise


@torch.inference_mode()
def largest_difference(
    classifier: Classifier, file: Path, waveforms: Sequence[Tensor], int16: bool = False
) -> float:
    """Return the largest difference of logits between an ONNX file in ONNX Runtime and its classifier.

    Args:
        classifier: the classifier, in evaluation mode.
        file: the ONNX file.
        waveforms: batches (batch, samples), float32 in [−1, 1].
        int16: whether the file takes int16 samples; the classifier gets the same.

    Returns:
        The difference; NaN if a logit is NaN.
    """
    runtime = session(file)
    largest = torch.zeros(())
    for waveform in waveforms:
        samples = (32767 * waveform).to(torch.int16) if int16 else waveform
        exported = runtime.run(None, {"waveform": samples.numpy()})
        expected = classifier(samples).values()
        for ours, theirs in zip(expected, exported, strict=False):
            difference = (ours - torch.from_numpy(theirs)).abs().max()
            largest = torch.maximum(largest, difference)  # NaN stays NaN
    return largest.item()
