"""What people see: a sweep's pages in a real MLflow, looked at, pointed at and clicked in a real browser."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from search import sweep
from search.config import SweepConfig
from search.tracking import ui
from search.views.show import Found, find
from tests.browser import Browser, needs_chromium
from tests.search.curves import Curves
from tests.search.examples import small_sweep
from tests.search.inprocess import Lines, without_ray

pytestmark = [pytest.mark.slow, needs_chromium]
WAIT = 120.0


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, fresh_database: Path) -> SweepConfig:
    home = tmp_path_factory.mktemp("home")
    config = small_sweep(home, trials=8)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        assert sweep.run(config, Lines(config), Curves).missing is None
    return config


@pytest.fixture(scope="module")
def found(config: SweepConfig) -> Found:
    return find(config.folder.parent, "small")


@pytest.fixture(scope="module")
def address(config: SweepConfig) -> Iterator[str]:
    with ui.served(config.folder.parent) as address:
        yield address


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser(1280, 900) as browser:
        yield browser


def the_page(browser: Browser, address: str, found: Found) -> dict[str, str]:
    """Opens the sweep's; its links by what they say."""
    browser.open(ui.page(address, "small", found.ledger.parent_run_id))
    browser.wait_for("document.body.innerText.includes('Pick: ')", WAIT)
    links = browser.evaluate("[...document.querySelectorAll('a')].map(a => [a.innerText, a.href])")
    return dict(links)


def test_the_sweeps_page_says_what_was_found_and_shows_the_plot(browser, address, found):
    the_page(browser, address, found)
    top = browser.evaluate("document.body.innerText")
    assert f"Pick: {found.knee.name}" in top and f"{found.hypervolume:.3f}" in top
    size = browser.wait_for(
        "(() => { const i = [...document.images].find(i => i.src.includes('pareto-small.png'));"
        "return i && i.naturalWidth && [i.naturalWidth, document.documentElement.scrollWidth]; })()",
        WAIT,
    )
    assert size == [720, 1280], "and the page is no wider for it"
    names = [o.name for o in found.front]
    assert all(name in browser.evaluate("document.body.textContent") for name in names)


def test_the_plot_among_the_artifacts_answers_a_hover_and_a_click(browser, address, found):
    link = the_page(browser, address, found)["The plot to explore"]
    browser.open("about:blank")
    browser.open(link)
    browser.wait_for("document.querySelectorAll('.js-plotly-plot .points').length", WAIT, frame=1)
    left, top = browser.wait_for(
        "(() => { const r = document.querySelector('iframe').getBoundingClientRect(); return [r.x, r.y]; })()"
    )
    knee = "[...document.querySelector('.js-plotly-plot').data].find(t => (t.name || '').startsWith('knee'))"
    x, y = browser.evaluate(
        f"(() => {{ const t = {knee}, p = document.querySelector('.js-plotly-plot'), l = p._fullLayout,"
        "r = p.getBoundingClientRect();"
        "return [r.x + l.xaxis._offset + l.xaxis.d2p(t.x[0]), r.y + l.yaxis._offset + l.yaxis.d2p(t.y[0])]; })()",
        frame=1,
    )
    browser.hover(left + x, top + y)
    said = browser.wait_for("document.querySelector('.hoverlayer').textContent", 20, frame=1)
    assert found.knee.trial in said and "rank" in said
    shown = f"({knee}).visible !== 'legendonly'"
    assert browser.evaluate(shown, frame=1)
    at = browser.evaluate(
        "(() => { const e = [...document.querySelectorAll('.legendtoggle')].at(-1).getBoundingClientRect();"
        "return [e.x + 10, e.y + e.height / 2]; })()",
        frame=1,
    )
    before = browser.evaluate("document.querySelector('.js-plotly-plot').data.map(t => t.visible ?? true)", frame=1)
    browser.click(left + at[0], top + at[1])
    browser.wait_for(
        "JSON.stringify(document.querySelector('.js-plotly-plot').data.map(t => t.visible ?? true)) !== "
        f"{json.dumps(json.dumps(before, separators=(',', ':')))}",
        20,
        frame=1,
    )
    assert not browser.errors


def test_the_front_is_a_table(browser, address, found):
    link = the_page(browser, address, found)["the front as a table"]
    browser.open("about:blank")
    browser.open(link)
    browser.wait_for("document.body.innerText.includes('View as table')", WAIT)
    text = browser.wait_for(f"document.body.innerText.includes('{found.knee.name}') && document.body.innerText", WAIT)
    assert all(o.name in text for o in found.front) and "checkpoint" in text


def test_the_fronts_runs_are_compared_by_one_filter(browser, address, found):
    links, trials = the_page(browser, address, found), {o.trial for o in found.front}
    others = set(found.ledger.proposals) - trials
    assert quote("tags.parent = 'small' and tags.front = 'yes'") in links["the front's runs in charts"]
    for words in ("the front's runs in charts", *(["side by side"] if len(trials) > 1 else [])):
        browser.open("about:blank")
        browser.open(links[words])
        every = " && ".join(f"document.body.innerText.includes('{trial}')" for trial in sorted(trials))
        text = browser.wait_for(f"{every} && document.body.innerText", WAIT)
        assert not [trial for trial in others if trial in text]
