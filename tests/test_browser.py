"""The browser that other tests look at pages with."""

from pathlib import Path

import pytest

from tests.browser import Browser, BrowserError, needs_chromium

PAGE = """<!DOCTYPE html><title>a page</title><style>body {margin: 0} p {margin: 0; height: 40px}</style>
<p id="a" onmouseover="this.dataset.over = 1" onclick="this.dataset.hit = 1">first</p>
<iframe sandbox="allow-scripts" style="border: 0; width: 300px; height: 100px"
 srcdoc="<body style='margin: 0'><p id='b' style='margin: 0; height: 50px'
 onclick='this.dataset.hit = 1'>second</p></body>"></iframe>
<script>console.error("said", 7); fetch("http://127.0.0.1:9/far").catch(() => document.body.dataset.refused = 1)
</script>"""


@needs_chromium
@pytest.mark.slow
def test_a_page_and_the_sandboxed_frame_in_it(tmp_path: Path):
    path = tmp_path / "page.html"
    path.write_text(PAGE)
    with Browser(400, 300, network=False) as browser:
        assert 0 < browser.open(path) < 60
        assert browser.evaluate("document.title") == "a page"
        assert browser.evaluate("Promise.resolve({a: [1, null]})") == {"a": [1, None]}
        browser.wait_for("document.body.dataset.refused")
        assert browser.errors[0] == "said 7" and "http://127.0.0.1:9/far" in browser.requests
        with pytest.raises(BrowserError, match="no such thing"):
            browser.evaluate("(() => { throw new Error('no such thing') })()")
        browser.hover(*browser.place_of("#a"))
        assert browser.evaluate("Object.keys(document.getElementById('a').dataset)") == ["over"]
        browser.click(20, 40 + 10)
        assert browser.wait_for("document.getElementById('b').dataset.hit", frame=1) == "1"
        with pytest.raises(BrowserError, match="no frame 2; the page has 2"):
            browser.evaluate("1", frame=2)
        with pytest.raises(BrowserError, match="waited 0 s for null; last: None"):
            browser.wait_for("null", 0.2)
        from PIL import Image

        assert Image.open(browser.screenshot(tmp_path / "page.png", 500, 200)).size == (500, 200)
        assert browser.print(tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
        process = browser._process
    assert process.returncode is not None
