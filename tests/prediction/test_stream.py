"""Labels of sound as it comes in: from Python and from a pipe."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from helpers.predictions import give_stdin, noise, predict_command, small_classifier
from numpy.typing import NDArray

from audiostride import Classifier
from audiostride.cli import main


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return small_classifier()


def pieces(samples: NDArray[Any], seed: int = 0) -> Iterator[NDArray[Any]]:
    """Yield samples in pieces of random lengths, some of them empty."""
    rng = np.random.default_rng(seed)
    while len(samples):
        count = int(rng.integers(0, 3000))
        yield samples[:count]
        samples = samples[count:]


def without_file(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "file"} for row in rows]


def assert_close(rows: list[dict[str, Any]], expected: list[dict[str, Any]], atol: float = 1e-5) -> None:
    assert [list(row.values())[:4] for row in rows] == [list(row.values())[:4] for row in expected]
    values = [row["probability"] for row in rows]
    np.testing.assert_allclose(values, [row["probability"] for row in expected], atol=atol)


@pytest.mark.parametrize("length", [1, 5000, 8000, 8001, 40000, 41234])
@pytest.mark.parametrize("hop", [0.5, 0.2])
def test_stream_equals_prediction_of_the_whole(classifier: Classifier, length: int, hop: float) -> None:
    samples = noise(length)
    rows = list(classifier.stream(pieces(samples), hop=hop, smooth=0, top=2))
    assert_close(rows, without_file(classifier.predict(samples, hop=hop, windows=True, top=2)))


@pytest.mark.parametrize("kind", ["int16", "float", "tensor"])
def test_stream_at_another_rate_equals_prediction_of_the_whole(classifier: Classifier, kind: str) -> None:
    samples: Any = noise(100000)
    if kind != "int16":
        samples = (samples / 32768).astype(np.float32)
    chunks: Any = pieces(samples)
    if kind == "tensor":
        chunks = map(torch.from_numpy, chunks)
    rows = list(classifier.stream(chunks, 44100, hop=0.2, smooth=0, tasks=["word"]))
    expected = classifier.predict(samples, 44100, hop=0.2, windows=True, tasks=["word"])
    assert_close(rows, without_file(expected), atol=1e-3)


@pytest.mark.parametrize(("rate", "delay"), [(16000, 0), (44100, 0.045), (8000, 0.125)])
def test_rows_come_with_the_samples_of_their_window(classifier: Classifier, rate: int, delay: float) -> None:
    given = 0

    def chunks() -> Iterator[NDArray[np.int16]]:
        nonlocal given
        for _ in range(300):
            given += rate // 100
            yield noise(rate // 100)

    rows = 0
    for row in classifier.stream(chunks(), rate, hop=0.1, tasks=["word"]):
        rows += 1
        assert given / rate <= row["end_s"] + delay + 0.01
    assert rows == 26


def test_smoothing_lasts_a_window_by_default(classifier: Classifier) -> None:
    samples = noise(80000)
    rows = list(classifier.stream([samples], hop=0.125))
    assert rows == list(classifier.stream([samples], hop=0.125, smooth=0.5))
    assert rows != list(classifier.stream([samples], hop=0.125, smooth=0))


def test_wrong_chunks_report_a_clear_error(classifier: Classifier) -> None:
    with pytest.raises(
        ValueError, match=r"expected chunks \(samples,\) of int16, as the first is, but got float32"
    ):
        list(classifier.stream([noise(100), np.zeros(100)]))
    with pytest.raises(ValueError, match=r"of shape \(2, 100\)"):
        list(classifier.stream([np.zeros((2, 100))]))
    assert list(classifier.stream([])) == []


def test_command_prints_what_the_generator_yields(
    run: str, classifier: Classifier, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = noise(30000)
    expected = list(classifier.stream([samples]))
    give_stdin(monkeypatch, samples.astype("<i2").tobytes() + b"\1")
    assert main(["predict", run, "--stdin", "--rate", "16000", "--format", "jsonl"]) == 0
    out, err = capsys.readouterr()
    assert_close([json.loads(line) for line in out.splitlines()], expected)
    assert err == "note: standard input ends within a sample: its last byte is left out\n"
    give_stdin(monkeypatch, samples.astype("<i2").tobytes())
    assert main(["predict", run, "--stdin", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(expected) / 2
    begin, end, word, label, probability = lines[0].split()[:5]
    assert (float(begin), float(end), word) == (0, 0.5, "word:")
    assert label == expected[0]["label"]
    assert float(probability) == pytest.approx(expected[0]["probability"], abs=0.006)


def test_label_track_of_standard_input_has_one_task(
    run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_stdin(monkeypatch, noise(90000).tobytes())
    assert main(["predict", run, "--stdin", "--format", "audacity", "--tasks", "word"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert (float(lines[0][0]), float(lines[-1][1])) == (0, 90000 / 16000)
    assert main(["predict", run, "--stdin", "--format", "audacity"]) == 1
    assert "choose one by --tasks" in capsys.readouterr().err


def start(run: str, *options: str) -> "subprocess.Popen[bytes]":
    command = predict_command(run, "--stdin", "--format", "jsonl", *options)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def read_row(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """Return the next line. The process is killed if it does not print one."""
    assert process.stdout is not None
    timer = threading.Timer(60, process.kill)
    timer.start()
    line = process.stdout.readline()
    timer.cancel()
    return json.loads(line)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_lines_come_before_the_input_ends_and_ctrl_c_ends_them(run: str) -> None:
    with start(run, "--tasks", "word", "--hop", "0.25") as process:
        assert process.stdin is not None
        content = noise(16000).tobytes()
        for begin, first, end in ((0, 0, 16001), (0.25, 16001, 24000), (0.5, 24000, 32000)):
            process.stdin.write(content[first:end])  # the first one ends within a sample
            process.stdin.flush()
            assert read_row(process)["begin_s"] == begin
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == b""
    assert err == b"audiostride predict: interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes that break at once")
def test_closed_output_ends_it_without_a_message(run: str) -> None:
    with start(run) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(noise(8000).tobytes())
        process.stdin.flush()
        read_row(process)
        process.stdout.close()
        process.stdout = None
        writer = threading.Thread(target=_write_until_closed, args=(process.stdin.fileno(),))
        writer.start()
        assert process.wait(timeout=60) == 1
        writer.join()
        process.stdin = None
        assert process.stderr is not None
        assert process.stderr.read() == b""


def _write_until_closed(pipe: int) -> None:
    content = noise(8000).tobytes()
    try:
        while True:
            os.write(pipe, content)
    except BrokenPipeError:
        os.close(pipe)
