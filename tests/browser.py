"""Pages in a real browser: a script asks the page, as a person would, and answers in JSON. Needs Chromium on the PATH."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on the PATH (Debian: apt install chromium)"
)

FRAME = """<!doctype html><iframe id="page" style="border:0;width:{width}px;height:{height}px"></iframe><pre id="answer"></pre>
<script>
const page = document.getElementById("page");
page.onload = () => setTimeout(() => {{
  const view = page.contentWindow, doc = page.contentDocument;
  document.getElementById("answer").textContent = JSON.stringify((() => {{ {script} }})());
}}, 200);
page.srcdoc = {text};
</script>"""


def asked_of_page(text: str, folder: Path, script: str, *, width: int) -> Any:
    """Return what `script` returns as JSON; it sees the page in a window of `width` as `view` and `doc`."""
    quoted = json.dumps(text).replace("<", "\\u003c")
    page = folder / "page.html"
    page.write_text(FRAME.format(width=width, height=800, script=script, text=quoted), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update"
    command = [str(CHROMIUM), *flags.split(), "--disable-sync", f"--user-data-dir={folder / 'profile'}"]
    command += ["--window-size=1300,900", "--virtual-time-budget=4000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = done.stdout.split('<pre id="answer">')[1].split("</pre>")[0]
    return json.loads(html.unescape(found))
