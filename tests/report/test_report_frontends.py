"""What a report shows of frontends: their resolution, cost and filters."""

from pathlib import Path

import pytest
from helpers.report_page import Page, write_page

from audiostride import load
from audiostride.analysis.resolution import quantity_text, resolution, resolution_table
from audiostride.analysis.summary import summarise_classifier
from audiostride.tables import cell

NAMES = ("log_mel", "pcen", "learned_resolution", "leaf")


@pytest.fixture(scope="module")
def page(frontends: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return write_page(list(frontends.values()), tmp_path_factory.mktemp("page") / "report.html")


@pytest.mark.parametrize("kind", NAMES)
def test_page_about_one_run_shows_the_resolution_of_its_frontend(
    kind: str, frontends: dict[str, Path], tmp_path: Path
) -> None:
    run = frontends[kind]
    single = write_page([run], tmp_path / "report.html")
    shown = single.table("What the frontend resolves")
    expected = resolution_table(load(run))
    assert shown == [
        {
            "quantity": quantity_text(row["quantity"]),
            "value": cell(row["value"]),
            "at start": cell(row["at_start"]),
            "usual": cell(row["usual"]),
        }
        for row in expected
    ]
    assert f"Frontend {kind.replace('_', ' ')}, 16,000 Hz" in single.text
    layers = [row["layer"] for row in single.table("For windows of 1 s")]
    first = {"learned_resolution": ["frontend time", "frontend frequency"], "leaf": ["frontend time"]}
    assert layers == [*first.get(kind, []), "1 time", "1 frequency", "2 time", "2 frequency"]
    alts = " ".join(image["alt"] for image in single.all("img"))
    assert ("Hop and mel channels of the frontend" in alts) == (kind in first)
    assert ("Bandwidth over centre frequency" in alts) == (kind == "leaf")


def test_runs_with_different_frontends_are_compared(page: Page, frontends: dict[str, Path]) -> None:
    rows = {row["quantity"]: row for row in page.table("What the frontends resolve")}
    groups = {kind: f"frontend {kind}" for kind in NAMES}
    for kind, group in groups.items():
        found = resolution(load(frontends[kind]).sound_frontend)
        assert rows["hop in ms"][group] == cell(found["hop_ms"])
        assert rows["overlap of windows of 25 ms"][group] == cell(25 / found["hop_ms"])
        assert rows["mel channels"][group] == cell(found["mel_channels"])
    assert rows["nominal hop in ms"][groups["log_mel"]] == "–"
    assert rows["hop in ms"]["usual"] == "10"


def test_cost_of_the_frontend_stands_beside_that_of_the_network(
    page: Page, frontends: dict[str, Path]
) -> None:
    (caption,) = (caption for caption in page.tables if caption.startswith("Accuracy on the test split"))
    head, *body = page.tables[caption]
    for run in frontends.values():
        (cells,) = (dict(zip(head, row, strict=True)) for row in body if row[0] == str(run))
        macs = {row["layer"]: row["mega_macs"] for row in summarise_classifier(load(run))}
        assert cells["million MACs, network"] == cell(macs["all"])
        assert cells["frontend"] == cell(macs["frontend"])
