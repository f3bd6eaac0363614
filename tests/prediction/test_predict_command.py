"""`audiostride predict` on files: what it finds, what it prints where, and what a bad file does."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers.command_line import fails
from helpers.predictions import give_stdin, predict_command, small_classifier, write_noise

from audiostride.cli import main

A, C = "sounds/a.wav", "sounds/b/c.flac"
pytestmark = pytest.mark.usefixtures("sounds")


def predict(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """Return the rows that the command prints as JSON lines."""
    assert main(["predict", *arguments, "--format", "jsonl"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def files_of(rows: list[dict[str, Any]]) -> list[str]:
    return [row["file"] for row in rows if row["task"] == "word"]


def test_rows_are_those_of_the_classifier(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    classifier = small_classifier()
    assert predict(capsys, run, A, C) == classifier.predict([A, C])
    assert predict(capsys, run, A, C, "--top", "2") == classifier.predict([A, C], top=2)
    windows = predict(capsys, run, A, C, "--windows", "--hop", "0.3", "--tasks", "word", "--batch_size", "3")
    assert windows == classifier.predict([A, C], windows=True, hop=0.3, tasks=["word"])
    assert list(windows[0]) == ["file", "begin_s", "end_s", "task", "label", "probability"]


@pytest.mark.parametrize("arguments", [["sounds"], ["sounds/**/*.*a*"], [A, "sounds/b", A]])
def test_folders_and_patterns_are_expanded(
    run: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert files_of(predict(capsys, run, *arguments)) == [A, C]


@pytest.mark.parametrize("listed", [f"{A}\n{C}\n", f"{A}\r\n\r\n{C}", f"{A}\0sounds/b\0", f"{A}\0{C}"])
def test_list_on_standard_input_is_read(
    run: str, listed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    give_stdin(monkeypatch, listed.encode())
    assert files_of(predict(capsys, run, "-")) == [A, C]


def test_name_with_brackets_is_no_pattern(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(A).rename("sounds/a[1].wav")
    assert files_of(predict(capsys, run, "sounds/a[1].wav")) == ["sounds/a[1].wav"]


def test_undecodable_names_are_printed_and_given_back_by_json(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9\n.wav")
    Path(A).rename(name)
    assert files_of(predict(capsys, run, name)) == [name]
    for format in ("table", "csv", "json"):
        assert main(["predict", run, name, "--format", format]) == 0
        assert "\\udce9" in capsys.readouterr().out


def test_formats_hold_the_same_rows(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = predict(capsys, run, "sounds", "--windows")
    assert main(["predict", run, "sounds", "--windows", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == rows
    assert main(["predict", run, "sounds", "--windows", "--format", "csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert table == [{name: str(value) for name, value in row.items()} for row in rows]
    assert main(["predict", run, "sounds", "--windows"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == "file begin s end s task label probability".split()
    assert len(lines) == 2 + len(rows)


def test_times_late_in_a_recording_keep_their_digits(
    run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    late = [{"file": "a", "begin_s": 10800.0625, "end_s": 10800.5625, "task": "t", "label": "x"}]
    monkeypatch.setattr("audiostride.prediction.command.label_windows", lambda *_: iter(late))
    for format in ("json", "csv", "jsonl"):
        assert main(["predict", run, A, "--windows", "--format", format]) == 0
        assert "10800.0625" in capsys.readouterr().out
    assert main(["predict", run, A, "--windows"]) == 0
    assert "10800.06" in capsys.readouterr().out


@pytest.mark.parametrize("format", ["table", "json", "jsonl", "csv"])
def test_bad_files_take_one_line_each_and_the_others_are_labelled(
    run: str, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cut.wav").write_bytes(Path(A).read_bytes()[:9000])
    status = main(["predict", run, "cut.wav", A, "none.wav", "sounds/notes.txt", C, "--format", format])
    out, err = capsys.readouterr()
    assert status == 1
    assert A in out
    assert C in out
    assert err.splitlines() == [
        "cut.wav ends too early: repair or remove it",
        "none.wav is missing or not a file: repair or remove it",
        "sounds/notes.txt cannot be read as sound: repair or remove it",
        "audiostride predict: 3 of 5 files cannot be read; the messages above say why",
    ]


@pytest.mark.parametrize(("format", "nothing"), [("table", ""), ("json", "[]\n"), ("jsonl", ""), ("csv", "")])
def test_bad_files_alone_give_an_empty_result(
    run: str, format: str, nothing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", run, "none.wav", "--format", format]) == 1
    assert capsys.readouterr().out == nothing


def test_out_takes_the_format_of_its_suffix(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = predict(capsys, run, A)
    for name, read in (
        ("new/a.json", lambda text: json.loads(text)),
        ("a.jsonl", lambda text: [json.loads(line) for line in text.splitlines()]),
    ):
        assert main(["predict", run, A, "--out", name]) == 0
        assert read(Path(name).read_text()) == rows
    assert main(["predict", run, A, "none.wav", "--out", "a.csv"]) == 1
    assert len(Path("a.csv").read_text().splitlines()) == 1 + len(rows)
    assert main(["predict", run, A, "--out", "a.txt"]) == 0
    assert Path("a.txt").read_text().split()[:2] == ["file", "task"]
    assert not list(Path().glob("**/*.new"))
    assert capsys.readouterr().out == ""


def read_track(file: Path) -> list[tuple[float, float, str]]:
    """Return the labels of a track as Audacity reads them."""
    lines = [line.split("\t") for line in file.read_text().splitlines()]
    return [(float(begin), float(end), label) for begin, end, label in lines]


@pytest.mark.parametrize("hop", [[], ["--hop", "0.2"]])
def test_label_tracks_join_windows_and_do_not_overlap(
    run: str, hop: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    write_noise(Path("sounds/long.wav"), 200000)
    assert main(["predict", run, "sounds", "--format", "audacity", "--out", "tracks", *hop]) == 0
    names = sorted(path.relative_to("tracks").as_posix() for path in Path("tracks").rglob("*.txt"))
    sounds = ("a.wav", "b/c.flac", "long.wav")
    assert names == [f"{name}.{task}.txt" for name in sounds for task in ("place%2Froom", "word")]
    capsys.readouterr()
    rows = predict(capsys, run, "sounds/long.wav", "--windows", "--tasks", "word", *hop)
    track = read_track(Path("tracks/long.wav.word.txt"))
    assert 1 < len(track) < len(rows)
    assert track[0][0] == rows[0]["begin_s"]
    assert track[-1][1] == rows[-1]["end_s"]
    for (_, end, label), (begin, _, following) in pairwise(track):
        assert begin == end
        assert label != following
    for row in rows:
        middle = (row["begin_s"] + row["end_s"]) / 2
        assert row["label"] in [label for begin, end, label in track if begin <= middle <= end]


def test_single_label_track_is_printed(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["predict", run, A, "--format", "audacity"]
    assert main([*arguments, "--tasks", "word"]) == 0
    Path("track.txt").write_text(capsys.readouterr().out)
    assert read_track(Path("track.txt"))
    message = fails(capsys, 1, *arguments)
    assert (
        "a label track holds one task of one file, but there are 1 files and tasks word, place/room"
        in message
    )


def test_smoothing_averages_the_last_windows(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_noise(Path("long.wav"), 100000)
    arguments = (run, "long.wav", "--windows", "--tasks", "word", "--top", "3", "--hop", "0.25")
    single = predict(capsys, *arguments)
    assert predict(capsys, *arguments, "--smooth", "0.1") == single
    smoothed = predict(capsys, *arguments, "--smooth", "0.75")
    assert smoothed[:3] == single[:3]

    def log_probabilities(rows: list[dict[str, Any]]) -> Any:
        ordered = sorted(rows, key=lambda row: (row["begin_s"], row["label"]))
        return np.log([row["probability"] for row in ordered]).reshape(-1, 3)

    mean = log_probabilities(single)[1:4].mean(0)
    expected = np.exp(mean) / np.exp(mean).sum()
    np.testing.assert_allclose(np.exp(log_probabilities(smoothed)[3]), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        ([], 2, "files must be given"),
        (["-"], 2, "there are no sound files in -: give files, folders or patterns"),
        (["empty"], 2, "there are no sound files in empty"),
        ([A, "--top", "0"], 1, "--top must be a whole number, at least 1, but is 0"),
        ([A, "--hop", "0"], 1, "--hop must be more than 0"),
        ([A, "--hop", "0.6"], 1, "at most one window (0.5 s), but is 0.6 s: change --hop"),
        ([A, "--tasks", "wrod"], 1, "the model has no task wrod: it has word, place/room"),
        ([A, "--format", "xml"], 2, "format must be one of table, json, jsonl, csv, audacity"),
        ([A, "--format", "audacity", "--top", "2"], 1, "leave out --top"),
        ([A, "--rate", "16000"], 2, "--rate is the sample rate of --stdin"),
        ([A, "--smooth", "1"], 2, "--smooth averages over windows: give --windows as well"),
        (["--stdin", "--out", "a.csv"], 2, "--out does not go with --stdin"),
        (["--stdin", "--format", "json"], 2, "give --format jsonl"),
        (["--stdin", A], 2, "there is no argument for sounds/a.wav"),
    ],
)
def test_mistake_reports_a_clear_error(
    run: str,
    arguments: list[str],
    status: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("empty").mkdir()
    give_stdin(monkeypatch, b"")
    assert sentence in fails(capsys, status, "predict", run, *arguments)


def test_missing_run_is_reported_without_importing_torch() -> None:
    code = (
        "import sys; from audiostride.cli import main; "
        "words = (['nowhere', 'a.wav'], ['.', 'none*', '--rate', '8']); "
        "status = [main(['predict', *arguments]) for arguments in words]; "
        "sys.exit(status != [1, 1] or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "there is no run at nowhere" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--out", "rows.jsonl"], ["--format", "table"]])
def test_interruption_keeps_what_was_labelled(
    run: str,
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from audiostride.prediction import command

    whole = command.run

    def interrupted(*args: Any) -> Any:
        for number, result in whole(*args):
            if number == 1:
                raise KeyboardInterrupt
            yield number, result

    monkeypatch.setattr(command, "run", interrupted)
    format = [] if arguments else ["--format", "jsonl"]
    assert main(["predict", run, A, C, *arguments, *format]) == 130
    out, err = capsys.readouterr()
    assert err == "audiostride predict: interrupted\n"
    text = Path("rows.jsonl").read_text() if "--out" in arguments else out
    assert A in text
    assert C not in text


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_ctrl_c_ends_at_once_and_keeps_what_was_printed(run: str) -> None:
    """The second file lasts an hour."""
    soundfile.write("sounds/long.wav", np.tile(np.arange(16000, dtype=np.int16), 3600), 16000)
    with subprocess.Popen(
        predict_command(run, "-", "--windows", "--format", "jsonl", "--batch_size", "2"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{A}\nsounds/long.wav\n")
        process.stdin.close()
        process.stdin = None
        first = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert first["file"] == A
    assert process.returncode == 130
    assert err == "audiostride predict: interrupted\n"
    assert all(json.loads(line) for line in out.splitlines())
