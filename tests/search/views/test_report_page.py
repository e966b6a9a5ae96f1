"""The report as somebody sees it: opened without a network, pointed at, clicked, on a phone and on paper."""

from pathlib import Path

import pytest

from search.views import report
from search.views.show import find
from tests.browser import Browser, needs_chromium
from tests.search.simulated import draw_grid, simulated

pytestmark = [pytest.mark.slow, needs_chromium, pytest.mark.timeout(280)]

PLACE = """(() => {{
  const plot = document.getElementById("front-plot"), box = plot.getBoundingClientRect(), l = plot._fullLayout;
  return [box.x + l.xaxis._offset + l.xaxis.d2p(POINTS.scores.identity[{i}]),
          box.y + l.yaxis._offset + l.yaxis.d2p(POINTS.scores.pose[{i}])];
}})()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("home")
    simulated(home, trials=16)
    found = find(home, "small")
    for number, o in enumerate(found.ledger.table):
        if o in found.front or number % 2:
            draw_grid(Path(found.ledger.observed[o.trial, o.steps].folder) / "grid.png", number)
    return report.write(found, None, "knee", [], "posefront report small").path


def opened(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.wait_for("document.documentElement.dataset.ready")


def test_a_hover_shows_the_trials_way_and_a_click_its_pictures(page):
    with Browser(1200, 900, network=False) as browser:
        opened(browser, page)
        assert browser.requests == [page.as_uri()] or all(r.startswith(("file:", "data:")) for r in browser.requests)
        browser.evaluate("document.getElementById('front-plot').scrollIntoView({block: 'center'})")
        member = browser.evaluate("POINTS.front.find(i => i !== POINTS.pick && wayOf(i).length > 1)")
        browser.hover(*browser.evaluate(PLACE.format(i=member)))
        name = browser.evaluate(f"nameOf({member})")
        browser.wait_for("document.querySelector('#front-plot .tip').style.display === 'block'")
        assert name in browser.evaluate("document.querySelector('#front-plot .tip').textContent")
        dots = browser.evaluate("document.querySelectorAll('#front-plot .trail circle').length")
        assert dots == browser.evaluate(f"wayOf({member}).length") > 1
        browser.click(*browser.evaluate(PLACE.format(i=member)))
        browser.wait_for(f"document.getElementById('chosen').dataset.point === {name!r}")
        cells = browser.evaluate("document.querySelectorAll('#chosen svg.cell').length")
        assert cells == 24, "twelve poses and twelve pictures"
        assert browser.evaluate("document.querySelectorAll('#chosen .skeleton').length") == 12
        without = browser.evaluate("POINTS.pictures.findIndex(number => number === -1)")
        browser.evaluate(f"choosePoint({without})")
        assert "No picture here" in browser.evaluate("document.getElementById('chosen').textContent")
        assert not browser.errors


def test_axes_and_colour_can_be_chosen_and_joints_left_out(page):
    with Browser(1200, 900, network=False) as browser:
        opened(browser, page)
        browser.evaluate(
            "(() => { const s = document.getElementById('choose-y'); s.value = 'drift';"
            " s.dispatchEvent(new Event('change')); })()"
        )
        title = "document.getElementById('front-plot')._fullLayout.yaxis.title.text"
        assert "drift" in browser.evaluate(title)
        shown = "getComputedStyle(document.querySelector('#gallery .skeleton')).display"
        assert browser.evaluate(shown) != "none"
        browser.click(*browser.place_of("[data-toggle=seen]"))
        assert browser.evaluate(shown) == "none" and not browser.errors


def test_a_phone_scrolls_one_way_and_paper_has_every_figure(page, tmp_path):
    with Browser(390, 844, network=False) as browser:
        browser.resize(390, 844, scale=2, phone=True)
        opened(browser, page)
        assert browser.evaluate("document.documentElement.scrollWidth") == 390
        assert not browser.evaluate("[...document.querySelectorAll('.plot')].every(plot => plot._fullLayout)")
        assert browser.print(tmp_path / "page.pdf").stat().st_size > 50_000
        drawn = browser.evaluate("[...document.querySelectorAll('.plot')].every(plot => plot._fullLayout)")
        assert drawn and not browser.errors
