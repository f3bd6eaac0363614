"""The model that is trained, saved and used: frontend, trunk and one linear head per task."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiostride.config.frontend_settings import FrontendSettings
from audiostride.config.input_kinds import check_model_settings
from audiostride.config.model_config import check_labels
from audiostride.config.settings import ModelSettings
from audiostride.errors import UserError
from audiostride.frontends.build import build_frontend
from audiostride.frontends.frontend import SoundFrontend
from audiostride.frontends.waveform import normalise_level
from audiostride.layers import read_strides
from audiostride.models.build import build_trunk, with_defaults
from audiostride.prediction import predict as prediction
from audiostride.prediction.predict import AnyPath, Waveform

# Seconds above which the forward pass of the evaluation splits a waveform into shorter windows.
LONGEST_WHOLE_S = 60.0


def is_traced() -> bool:
    """Return whether a compiler or an exporter records the operations of a forward pass."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


class Classifier(nn.Module):
    """Waveforms or images to logits, for one task or several.

    The frontend decides what the classifier takes. A batch norm without weights normalises its features per
    channel; its running mean and variance are saved with the model. A channel whose deviation is below
    `smallest_deviation` is divided by that instead. Otherwise channels without a signal, such as those above
    4 kHz in sound that was recorded at 8 kHz, would be amplified until their dither fills them.

    Args:
        labels: labels of each task, in the order of its logits.
        settings: settings of the network and its downsampling; by default the paper's.
        window_s: length in seconds of the windows that the classifier is trained on. `predict` splits a
            longer recording into such windows and averages their logits. The forward pass does so in
            evaluation mode for waveforms that are longer than that and than `LONGEST_WHOLE_S` seconds,
            without gradients, so that memory does not grow with their length.
        frontend: settings of the frontend; by default the paper's.

    Shape:
        (batch, samples), floating point in [−1, 1] or int16 at `sample_rate`, to a dict from task to logits
        (batch, classes). With the frontend pixels (batch, colours, height, width), floating point in [0, 1]
        or uint8, to the same.

    Attributes:
        labels: dict from task to its labels.
        settings: as given, with the network's own channels and strides where none were given.
        frontend_settings: as given to `frontend`.
        smallest_deviation: deviation below which a channel of the features counts as quiet.
        window_s: as given.
        origin: what is known about the training of a loaded classifier, for example step and recipe.

    Raises:
        ValueError: if there is no task, if a task has no labels or one twice, or if the network or the
            frontend refuses the settings; in the forward pass if the input has another shape.

    >>> classifier = Classifier({"word": ["yes", "no"]}, ModelSettings((8, 16), ((2, 2), (2, 2)))).eval()
    >>> classifier(torch.zeros(3, classifier.sample_rate))["word"].shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        labels: Mapping[str, Sequence[str]],
        settings: ModelSettings | None = None,
        window_s: float = 1.0,
        frontend: FrontendSettings | None = None,
    ) -> None:
        super().__init__()
        self.labels = {task: list(names) for task, names in labels.items()}
        check_labels(self.labels)
        self.origin: dict[str, Any] = {}
        self.settings, self.window_s = settings or ModelSettings(), window_s
        self.frontend_settings = frontend or FrontendSettings()
        check_model_settings(self.settings, self.frontend_settings.kind)
        self.frontend = build_frontend(self.frontend_settings)
        floor = self.frontend_settings.floor
        self.smallest_deviation = self.frontend.smallest_deviation if floor is None else floor
        self.normalise = nn.BatchNorm1d(self.frontend.images * self.frontend.channels, affine=False)
        self.trunk = build_trunk(self.settings, self.frontend.images)
        self.settings = with_defaults(self.settings, self.trunk)
        # A list in the order of `labels`: a ModuleDict does not accept every name of a task.
        self.heads = nn.ModuleList(
            nn.Linear(self.trunk.embedding_size, len(names)) for names in self.labels.values()
        )

    @property
    def sample_rate(self) -> int:
        """Sample rate of the waveforms in Hz.

        Raises:
            UserError: if the classifier takes images.
        """
        return self.sound_frontend.sample_rate

    @property
    def sound_frontend(self) -> SoundFrontend:
        """The frontend, of a classifier that takes sound.

        Raises:
            UserError: if the classifier takes images.
        """
        if not isinstance(self.frontend, SoundFrontend):
            raise UserError(f"the model takes {self.frontend.takes}, but this is for models that take sound")
        return self.frontend

    @property
    def example_text(self) -> str:
        """What the classifier was trained on, in words: "windows of 1 s"."""
        if isinstance(self.frontend, SoundFrontend):
            return f"windows of {self.window_s:g} s"
        return self.frontend.takes

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        longest = max(LONGEST_WHOLE_S, self.window_s)
        if self.frontend.exceeds(waveform, longest) and not self.training and not is_traced():
            return prediction.mean_over_windows(self, waveform)
        return self.classify(self.spectrogram(waveform))

    def embed(self, waveform: Tensor) -> Tensor:
        """Return the trunk's embeddings (batch, embedding_size) of waveforms (batch, samples) or images."""
        return self.trunk(self.spectrogram(waveform))

    def spectrogram(self, waveform: Tensor, gain: Tensor | None = None) -> Tensor:
        """Return the network's input (batch, images, time, mel) for waveforms (batch, samples).

        These are normalised spectrograms, several of the same sound if the frontend has several windows; or
        normalised images (batch, colours, height, width).

        Args:
            waveform: (batch, samples), or images (batch, colours, height, width).
            gain: (batch,), factor of each waveform after its level is normalised, for augmentation.
        """
        read_strides(self)
        return self.frontend.downsample(self.features(waveform, gain))

    def features(self, waveform: Tensor, gain: Tensor | None = None) -> Tensor:
        """Return the frontend's features (batch, images, frames, channels), normalised per channel.

        The network takes what the frontend's `downsample` makes of them, see `spectrogram`.

        Args:
            waveform, gain: as in `spectrogram`.
        """
        self.frontend.check(waveform)
        if self.settings.level == "rms":
            waveform = normalise_level(waveform)
            waveform = waveform if gain is None else waveform * gain[:, None]
        features = self.frontend.features(waveform).to(next(self.heads.parameters()).dtype)
        return self.normalised(features)

    def input_size(self, samples: int | None = None) -> tuple[int, int]:
        """Return (time, mel) of the network's input for so many samples, by default those of a window.

        Of images it is (height, width), which have no samples.
        """
        if samples is None:
            return self.frontend.network_size(self.window_s)
        return self.sound_frontend.size(samples)

    def normalised(self, features: Tensor) -> Tensor:
        """Return the features of the frontend (batch, images, frames, channels), normalised per channel."""
        normalised = self.normalise(features.transpose(-1, -2).flatten(1, 2))
        assert self.normalise.running_var is not None
        deviation = (self.normalise.running_var + self.normalise.eps).sqrt()
        normalised = normalised * (deviation / deviation.clamp(min=self.smallest_deviation)).unsqueeze(1)
        return normalised.unflatten(1, (features.shape[1], features.shape[-1])).transpose(-1, -2)

    def channel_statistics(self) -> tuple[Tensor, Tensor]:
        """Return what normalisation subtracts and divides by in evaluation mode, each (images, channels)."""
        mean, variance = self.normalise.running_mean, self.normalise.running_var
        assert mean is not None
        assert variance is not None
        deviation = (variance.float() + self.normalise.eps).sqrt().clamp(min=self.smallest_deviation)
        shape = (self.frontend.images, self.frontend.channels)
        return mean.float().view(shape), deviation.view(shape)

    @property
    def strides(self) -> Tensor:
        """Current strides (layers, 2) over time and frequency (height and width of images): those of the
        frontend, if it has them, and of the trunk's blocks."""
        resampling = self.frontend.strides
        trunk = self.trunk.strides
        return trunk if resampling is None else torch.cat([resampling.to(trunk).unsqueeze(0), trunk])

    def classify(self, spectrogram: Tensor) -> dict[str, Tensor]:
        """Return the logits (batch, classes) of each task for the network's input, see `spectrogram`."""
        embedding = self.trunk(spectrogram)
        return {task: head(embedding) for task, head in zip(self.labels, self.heads, strict=True)}

    def predict(
        self,
        sounds: AnyPath | Waveform | Sequence[AnyPath] | Sequence[Waveform],
        sample_rate: int | None = None,
        *,
        top: int = 1,
        hop: float | None = None,
        windows: bool = False,
        tasks: Sequence[str] | None = None,
        batch_size: int | None = None,
        skip_bad: bool = False,
    ) -> list[dict[str, Any]]:
        """Label sound files or waveforms, as `audiostride predict` does.

        A recording is split into windows of `window_s` seconds, as in `audiostride test`, and the logits of
        its windows are averaged. The mode of the classifier, training or evaluation, does not matter.

        Args:
            sounds: the path of a sound file or of a folder with sound files, or several paths; a waveform
                (samples,), or several, as (batch, samples) or as a list. Waveforms are NumPy arrays or
                tensors, floating point in [−1, 1] or int16.
            sample_rate: sample rate of the waveforms in Hz, by default the classifier's. They are resampled.
            top: number of labels per task, the most probable first; ≥ 1.
            hop: seconds from one window's begin to the next one's, at most `window_s`. The windows then begin
                at 0, and the last one ends with the recording. By default windows are consecutive, and
                centred on the recording.
            windows: label each window instead of each recording.
            tasks: the tasks to label for, by default all.
            batch_size: windows per batch, ≥ 1. By default it suits the device.
            skip_bad: leave out files that cannot be read, with a warning, instead of raising an error.

        Returns:
            Rows for ``pandas.DataFrame``: dicts with `file` (the path; for waveforms their number, from 0),
            `task`, `label` and `probability`; with `windows` also `begin_s` and `end_s` in seconds.

        Raises:
            BadSoundError: if a file is missing or cannot be read as sound; `skip_bad` prevents it.
            UserError: if there is no such task, or not enough memory for a batch.
            ValueError: if a waveform or an argument is of the wrong type, shape or size.

        >>> classifier = Classifier({"word": ["yes", "no"]}, ModelSettings((8, 16), ((2, 2), (2, 2))))
        >>> rows = classifier.predict(torch.randn(44100) / 10, sample_rate=44100, top=2)
        >>> [list(row) for row in rows]
        [['file', 'task', 'label', 'probability'], ['file', 'task', 'label', 'probability']]
        >>> round(sum(row["probability"] for row in rows), 3)
        1.0
        """
        return prediction.predict(
            self,
            sounds,
            sample_rate,
            top=top,
            hop=hop,
            windows=windows,
            tasks=tasks,
            batch_size=batch_size,
            skip_bad=skip_bad,
        )

    def stream(
        self,
        chunks: Iterable[Waveform],
        sample_rate: int | None = None,
        *,
        hop: float | None = None,
        smooth: float | None = None,
        top: int = 1,
        tasks: Sequence[str] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Label sound as it comes in: a row per hop and task as soon as its samples are there.

        Args:
            chunks: pieces of the sound, each (samples,), of any lengths: NumPy arrays or tensors, floating
                point in [−1, 1] or int16.
            sample_rate: their sample rate in Hz, by default the classifier's. Other rates are resampled,
                which delays the labels by 0.04 s, and by 0.12 s below 16 kHz.
            hop: seconds from one window's begin to the next one's, at most `window_s`; by default half of
                it.
            smooth: seconds of windows, the last one and those before it, whose logits are averaged; by
                default `window_s`. 0 labels each window by itself.
            top: number of labels per task, the most probable first; ≥ 1.
            tasks: the tasks to label for, by default all.

        Yields:
            Dicts with `begin_s` and `end_s` of the last window, `task`, `label` and `probability`.

        Raises:
            UserError: if there is no such task.
            ValueError: if a chunk or an argument is of the wrong type, shape or size.

        >>> classifier = Classifier({"word": ["yes", "no"]}, ModelSettings((8, 16), ((2, 2), (2, 2))))
        >>> chunks = (torch.randn(1000) / 10 for _ in range(48))
        >>> [(row["begin_s"], row["end_s"]) for row in classifier.stream(chunks, hop=1.0)]
        [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]
        """
        return prediction.stream(self, chunks, sample_rate, hop=hop, smooth=smooth, top=top, tasks=tasks)

    def configuration(self) -> dict[str, Any]:
        """Return the arguments that build this model again, as plain values."""
        settings = asdict(self.settings)
        if self.trunk.downsampling == "diffstride":
            settings["smoothness"] = self.trunk.window.smoothness  # training may have changed it
        return {
            "labels": self.labels,
            "settings": settings,
            "window_s": self.window_s,
            "frontend": asdict(self.frontend_settings),
        }

    def save(self, folder: str | os.PathLike[str], card: str | None = None) -> None:
        """Save the classifier as a model folder, which `load` reads: for others, or for a hub.

        The folder has three files: model.safetensors, config.json and README.md, the model card. An older
        model in the folder is replaced when the new files are complete; other files stay.

        Args:
            folder: a new or empty folder, or a model folder.
            card: the model card in Markdown. By default the card that the classifier was loaded with, if its
                weights are still the same, or a short one. ``audiostride export`` writes a card with
                accuracy, data and cut-offs.

        Raises:
            UserError: if the folder holds other files than a model's, or if weights are not finite or do not
                fit the settings.
        """
        from audiostride.models.model_folder import save_model

        save_model(self, Path(folder), card)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Push a model of audiostride",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload the classifier to the Hugging Face hub, as the files of a model folder.

        Needs huggingface_hub (``pip install 'audiostride[hub]'``), and a token that may write.

        Args:
            repo_id: name of the repository, USER/NAME. It is created if it does not exist.
            commit_message: first line of the commit's message.
            private: whether a new repository is private.
            token: access token; by default that of ``hf auth login``.
            branch: branch to upload to; by default the main branch.
            create_pr: whether to open a pull request instead of changing the branch.

        Returns:
            The address of the commit.

        Raises:
            UserError: if huggingface_hub is missing, or if the hub refuses the model or is not reached.
        """
        from audiostride.models.hub import upload

        options = {"commit_message": commit_message, "revision": branch, "create_pr": create_pr}
        return upload(self, repo_id, private, token, options)

    @classmethod
    def from_pretrained(
        cls,
        repo_id_or_folder: str | os.PathLike[str],
        *,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
    ) -> "Classifier":
        """Load a classifier from the Hugging Face hub, or from a folder, in evaluation mode, on the CPU.

        Needs huggingface_hub (``pip install 'audiostride[hub]'``) unless the argument is a folder. Only the
        files of a model folder are downloaded, and nothing in them is executed.

        Args:
            repo_id_or_folder: name of a repository, USER/NAME; or a folder as for `load`.
            revision: branch, tag or commit of the repository.
            token: access token; by default that of ``hf auth login``.
            cache_dir: folder for downloaded files.
            force_download: whether to download files that are in the cache.
            local_files_only: whether to use the cache alone.

        Raises:
            UserError: if huggingface_hub is missing, if the download fails, or for the reasons of `load`.
        """
        from audiostride.models.loading import load

        if Path(repo_id_or_folder).exists():
            return load(repo_id_or_folder)
        from audiostride.models.hub import download

        options = {
            "revision": revision,
            "token": token,
            "cache_dir": cache_dir,
            "force_download": force_download,
            "local_files_only": local_files_only,
        }
        return load(download(str(repo_id_or_folder), options))
