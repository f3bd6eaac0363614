"""Compares exported models with the classifier that they were made of."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from audiostride.errors import UserError
from audiostride.export.plain import shortest_waveform
from audiostride.frontends.frontend import SoundFrontend
from audiostride.models.classifier import Classifier

# Differences that count as rounding: of logits in float32, also as a fraction of the largest logit, and of
# probabilities in half precision.
LARGEST_OF_LOGITS, LARGEST_FRACTION = 1e-4, 1e-5
LARGEST_OF_PROBABILITIES = 0.02

# From waveforms (batch, samples) to the logits of each task, in the order of the tasks.
Runner = Callable[[Tensor], list[Tensor]]


@dataclass
class Difference:
    """How far an exported model is from its classifier in one task.

    Attributes:
        logits: largest difference of a logit.
        largest_logit: largest absolute value of a logit.
        probabilities: largest difference of a probability.
        same_label: fraction of the waveforms for which both choose the same label.
    """

    logits: float
    largest_logit: float
    probabilities: float
    same_label: float


def onnx_runner(file: Path, threads: int = 1) -> Runner:
    """Open an ONNX file in ONNX Runtime on the CPU.

    Args:
        file: the ONNX file.
        threads: number of threads.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    return lambda x: [torch.from_numpy(output) for output in session.run(None, {taken.name: x.numpy()})]


def classifier_runner(classifier: Classifier) -> Runner:
    """Return a classifier as a function like an exported model, which never splits waveforms into windows."""

    @torch.inference_mode()
    def run(waveform: Tensor) -> list[Tensor]:
        return list(classifier.classify(classifier.spectrogram(waveform)).values())

    return run


def as_int16(waveform: Tensor) -> Tensor:
    """Return samples in [−1, 1] as int16."""
    return (32767 * waveform).to(torch.int16)


def check_sounds(
    classifier: Classifier, samples: int | None, sounds: Iterable[Tensor] = (), int16: bool = False
) -> list[Tensor]:
    """Return batches of waveforms (batch, samples) to compare on: noise, a sound like a voice, and `sounds`.

    Of a classifier of images, they are noise and the given images.

    Args:
        classifier: the classifier, for its sample rate and windows.
        samples: length of all waveforms, or None for several lengths.
        sounds: waveforms (samples,), floating point in [−1, 1], of any length; or images (colours, height,
            width) in [0, 1].
        int16: return int16 samples instead of float32.
    """
    if not isinstance(classifier.frontend, SoundFrontend):
        return [*_noise_images(classifier), *(image.unsqueeze(0) for image in sounds)]
    rate, shortest = classifier.sample_rate, shortest_waveform(classifier) if samples is None else samples
    several = [max(shortest, round(seconds * rate)) for seconds in (0, classifier.window_s, 2.345)]
    lengths = several if samples is None else [samples]
    generator = torch.Generator().manual_seed(0)
    batches = [
        0.1 * torch.randn(batch, length, generator=generator) for length in lengths for batch in (1, 3)
    ]
    batches += [_voice(length, rate).unsqueeze(0) for length in lengths]
    for sound in sounds:
        padded = functional.pad(sound, (0, max(0, shortest - len(sound))))
        batches.append(padded[:samples].unsqueeze(0))
    clipped = [batch.clamp(-1, 1) for batch in batches]
    return list(map(as_int16, clipped)) if int16 else clipped


def _noise_images(classifier: Classifier) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = classifier.frontend.example_shape(classifier.window_s)
    return [torch.rand(batch, *shape, generator=generator) for batch in (1, 3)]


def _voice(length: int, rate: int) -> Tensor:
    """Return (samples,), a sound like a voice: harmonics that glide, in syllables, above a little noise."""
    seconds = torch.arange(length) / rate
    turns = 120 * seconds + 8 * torch.sin(2 * torch.pi * 1.3 * seconds)
    harmonics = sum(torch.sin(2 * torch.pi * k * turns) / k for k in range(1, 31))
    syllables = torch.sin(torch.pi * 2 * seconds).square()
    noise = torch.randn(length, generator=torch.Generator().manual_seed(1))
    return 0.2 * syllables * harmonics + 1e-3 * noise


def compare(classifier: Classifier, exported: Runner, waveforms: Iterable[Tensor]) -> dict[str, Difference]:
    """Return the differences of each task between an exported model and its classifier.

    Args:
        classifier: the classifier, in evaluation mode.
        exported: the exported model.
        waveforms: batches (batch, samples) of a type that both take.
    """
    original = classifier_runner(classifier)
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {task: [] for task in classifier.labels}
    for waveform in waveforms:
        outputs = zip(original(waveform), exported(waveform), strict=False)  # an export may return more
        for of_task, pair in zip(pairs.values(), outputs, strict=True):
            of_task.append(pair)
    return {
        task: _difference(*(torch.cat(logits) for logits in zip(*of_task, strict=True)))
        for task, of_task in pairs.items()
    }


def _difference(ours: Tensor, theirs: Tensor) -> Difference:
    return Difference(
        (ours - theirs).abs().max().item(),
        ours.abs().max().item(),
        (ours.softmax(1) - theirs.softmax(1)).abs().max().item(),
        (ours.argmax(1) == theirs.argmax(1)).float().mean().item(),
    )


def check(file: Path, differences: dict[str, Difference], precision: str) -> None:
    """Raise an error if an exported model differs from its classifier by more than rounding.

    In float32 the logits count, in half precision the probabilities. In int8 nothing does: only its accuracy
    on recordings says whether it is good.

    Args:
        file: the file that was to be written, for the message.
        differences: from task to its differences.
        precision: "float32", "float16" or "int8".

    Raises:
        UserError: naming the task.
    """
    for task, difference in differences.items():
        kind, value = "logits", difference.logits
        limit = max(LARGEST_OF_LOGITS, LARGEST_FRACTION * difference.largest_logit)
        if precision == "float16":
            kind, value, limit = "probabilities", difference.probabilities, LARGEST_OF_PROBABILITIES
        if precision != "int8" and not value <= limit:  # NaN is not
            raise UserError(
                f"{file} was not written: the {kind} of {task} differ from those of PyTorch by up to "
                f"{value:.1g}, more than {limit:g}"
            )
