"""The page of a report in a browser, at the width of a phone and of a screen."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers.report_page import Page

from audiostride.analysis.figures import BACKGROUND

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --enable-logging=stderr --v=0
    --hide-scrollbars""".split()
WIDTHS = (400, 1400)

# Frames have any width, but the window of a headless browser has a minimum one. All details are opened.
LOOK = """<!doctype html><meta charset="utf-8"><body>{frames}<script>
addEventListener("load", () => {{
  const seen = [...document.querySelectorAll("iframe")].map(({{contentDocument: page}}) => {{
    page.querySelectorAll("details").forEach(details => details.open = true);
    const images = [...page.images];
    return {{
      broken: images.filter(image => !image.complete || !image.naturalWidth).length,
      shown: images.filter(image => image.offsetWidth).map(image => image.className.split(" ")[0]),
      width: page.documentElement.clientWidth,
      needed: page.documentElement.scrollWidth,
      behind: getComputedStyle(page.documentElement).backgroundColor,
    }};
  }});
  document.body.textContent = JSON.stringify(seen);
}});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("look", ["light", "dark"])
def test_browser_shows_the_whole_page_at_both_widths(look: str, several: Page, tmp_path: Path) -> None:
    page = html.escape(several.source)
    frames = "".join(
        f'<iframe style="width:{w}px;height:900px;border:0" srcdoc="{page}"></iframe>' for w in WIDTHS
    )
    wrapper = tmp_path / "look.html"
    wrapper.write_text(LOOK.format(frames=frames), encoding="utf-8")
    scheme = f"--blink-settings=preferredColorScheme={['dark', 'light'].index(look)}"
    seen = subprocess.run(
        [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={tmp_path / 'profile'}",
            scheme,
            "--dump-dom",
            wrapper.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    (result,) = re.findall(r"<body>(\[.*?\])</body>", seen.stdout, re.DOTALL)
    assert "CONSOLE" not in seen.stderr
    red, green, blue = bytes.fromhex(BACKGROUND[look == "dark"][1:])
    images = len(several.all("img")) // 2
    for width, frame in zip(WIDTHS, json.loads(result), strict=True):
        assert frame["broken"] == 0
        assert frame["shown"] == [look] * images
        assert frame["width"] == frame["needed"] == width
        assert frame["behind"] == f"rgb({red}, {green}, {blue})"
