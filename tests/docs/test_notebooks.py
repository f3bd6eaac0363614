"""The notebooks run, and show what their text says."""

import re
from functools import cache
from pathlib import Path

import nbformat
import pytest
import run_notebooks
from helpers.pages import NOTEBOOKS

KNOWN_SIGNAL, READ_STRIDES, REPLACE_STRIDES, TRAIN = NOTEBOOKS


@cache
def printed(path: Path) -> str:
    """Run a notebook and return all that it prints."""
    notebook = run_notebooks.execute(path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def test_a_tone_passes_below_the_cut_off_halves_on_the_ramp_and_vanishes_above() -> None:
    heights = re.findall(r"([\d.]+) Hz: 66 samples, height ([\d.]+)", printed(KNOWN_SIGNAL))
    assert heights == [("10", "1.00"), ("14.5", "0.50"), ("20", "0.00")]


def test_only_the_tone_on_the_ramp_has_a_gradient() -> None:
    gradients = dict(re.findall(r"Hz, (.*): gradient (.*)", printed(KNOWN_SIGNAL)))
    assert float(gradients["on the ramp"]) < -0.1
    assert gradients["below the cut-off"] == gradients["above the ramp"] == "0"


def test_a_model_trained_from_python_recognises_new_sounds() -> None:
    assert "['noise', 'clicks', 'tone']" in printed(TRAIN)


def test_a_task_of_slow_modulations_learns_a_lower_cut_off_than_one_of_fast_modulations() -> None:
    text = printed(READ_STRIDES)
    accuracies = re.findall(r"(slow|fast): (\d+) %", text)
    slow, fast = (float(edge) for edge in re.findall(r"1  time +[\d.]+ +([\d.]+)", text))
    assert all(int(percent) >= 80 for _, percent in accuracies)
    assert slow < 20 < fast


def test_a_network_of_torchvision_keeps_the_axis_that_its_task_needs() -> None:
    pytest.importorskip("torchvision")
    text = printed(REPLACE_STRIDES)
    time, frequency = re.findall(r"conv1 +([\d.]+) +([\d.]+)", text)[-1]
    assert float(time) < 2.4
    assert float(frequency) > 2.8
    assert int(re.findall(r"(\d+)% of new", text)[0]) >= 90
    assert int(re.findall(r"step 60: .* cost (\d+)%", text)[0]) <= 60


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_notebook_is_small_and_has_run_without_error(path: Path) -> None:
    assert path.stat().st_size < 300_000
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)
