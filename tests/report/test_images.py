"""The images of a report: learning curves, names of groups, light and dark versions."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.report_page import Page
from helpers.tiny_run import metrics

from audiostride.analysis.figures import BACKGROUND
from audiostride.analysis.trained import open_run
from audiostride.report.images import group_names
from audiostride.report.learning_curves import draw_learning_curves


def test_learning_curves_show_the_log(runs: dict[str, Path]) -> None:
    drawn = draw_learning_curves([open_run(str(runs["a0"]))], ["a"], step=4)
    assert drawn is not None
    panels: list[Any] = drawn.figure.axes
    log = metrics(runs["a0"])
    for panel, metric, scale in zip(panels, ("loss", "accuracy"), (1, 100), strict=True):
        valid, training, checkpoint = panel.lines
        for line, part in ((valid, "valid"), (training, "train")):
            assert list(line.get_xdata()) == [entry["step"] for entry in log]
            values = [scale * entry["metrics"][f"{part}/{metric}/speech_commands"] for entry in log]
            assert list(line.get_ydata()) == values
        assert list(checkpoint.get_xdata()) == [4, 4]
    last = 100 * log[-1]["metrics"]["valid/accuracy/speech_commands"]
    assert f"validation accuracy ends at {last:.1f} % (speech_commands)" in drawn.alt


@pytest.mark.parametrize(
    ("titles", "names", "expected"),
    [
        (["ramp inside", "ramp outside"], ["a/x", "b/x"], ["ramp inside", "ramp outside"]),
        (["1" * 80, "2", "1" * 80], ["a/x", "a/y", "a/z"], ["x and 1 more", "y", "x and 1 more"]),
        (["1" * 80, "2"], ["a/x", "b/x"], ["a/x", "b/x"]),
    ],
)
def test_folders_replace_long_titles_in_figures(
    titles: list[str], names: list[str], expected: list[str]
) -> None:
    examined: Any = [
        SimpleNamespace(title=title, run=SimpleNamespace(name=name))
        for title, name in zip(titles, names, strict=True)
    ]
    assert group_names(examined) == expected


def test_page_has_a_light_and_a_dark_version_of_each_image(single: Page) -> None:
    images = single.all("img")
    assert [image["class"].split()[0] for image in images] == ["light", "dark"] * (len(images) // 2)
    for image in images:
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/svg+xml;base64"
        drawn = base64.b64decode(data).decode()
        assert ElementTree.fromstring(drawn).tag.endswith("svg")
        background = re.search(r'"patch_1">.*?fill: (#\w{6})', drawn, re.DOTALL)
        assert background
        assert background[1] == BACKGROUND["dark" in image["class"]]
    # Learning curves, cost, a confusion matrix, windows, trajectories, cut-offs, strides, downsampling.
    assert len(images) == 2 * 8
