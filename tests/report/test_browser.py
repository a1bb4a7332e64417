"""The page in a real browser, at the width of a desk and of a phone, light and dark."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from rnnexport.core.run_record import FileRecord
from rnnexport.report.html import to_html
from rnnexport.verification.report import Report
from tests.report import reports
from tests.report.browser import chromium, launched

SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
REPORTS = {
    "good": reports.GOOD,
    "bad": reports.BAD,
    "absent": reports.ABSENT,
    "empty": reports.EMPTY,
    "hostile": reports.hostile(),
}
# One browser for all of these tests.
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = chromium()
    if program is None:
        assert os.environ.get("CI") != "true", "CI has no Chromium: .ci/run installs it"
        pytest.skip("no Chromium on this host: apt-get install chromium")
    with launched(program, tmp_path_factory.mktemp("browser") / "profile") as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Every page as a file, by name."""
    folder = tmp_path_factory.mktemp("pages")
    digests = (FileRecord("good.onnx", 1000, "0f" * 32),)
    items = tuple(replace(item, files=digests) for item in reports.GOOD.artifacts)
    others = {"many": reports.MANY, "recorded": Report(items, reports.RUN)}
    for name, report in {**REPORTS, **others}.items():
        (folder / f"{name}.html").write_text(to_html(report), encoding="utf-8")
    return {path.stem: path.as_uri() for path in folder.iterdir()}


def shown(browser, pages, name, size, scheme="light"):
    browser.open(pages[name], width=SIZES[size][0], height=SIZES[size][1], scheme=scheme)
    assert browser.value("innerWidth") == SIZES[size][0]
    return browser


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", [*REPORTS, "recorded"])
def test_the_page_fits_and_loads_nothing(browser, pages, name, size):
    shown(browser, pages, name, size)
    assert browser.value("document.documentElement.scrollWidth") <= SIZES[size][0]
    requests = [told["request"]["url"] for told in browser.told("Network.requestWillBeSent")]
    assert requests == [pages[name]]
    # Violations of the content security policy are told as entries of the log.
    assert browser.told("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown") == []
    assert browser.value("document.scripts.length") == 0


def test_a_violation_would_be_seen(browser, tmp_path):
    page = to_html(reports.GOOD).replace("</main>", '<img src="http://127.0.0.1:9/x.png"><script>1</script></main>')
    (tmp_path / "page.html").write_text(page)
    browser.open((tmp_path / "page.html").as_uri(), width=1280, height=900)
    told = [entry["entry"]["text"] for entry in browser.told("Log.entryAdded")]
    assert sum("Content Security Policy" in text for text in told) == 2, told


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "word"),
    [("good", "Verified"), ("bad", "Mismatch"), ("absent", "Not verified"), ("empty", "Nothing verified")],
)
def test_the_verdict_is_on_the_first_screen(browser, pages, name, word, size):
    shown(browser, pages, name, size)
    top, bottom, height, text, font = browser.value(
        "(() => { const h = document.querySelector('h1'), r = h.getBoundingClientRect();"
        "return [r.top, r.bottom, r.height, h.innerText.trim(), parseFloat(getComputedStyle(h).fontSize)]; })()"
    )
    assert text == word
    assert 0 <= top < bottom < SIZES[size][1] / 2
    assert height < 2.6 * font  # on one line or two
    assert font >= 36
    lead = browser.value("document.querySelector('.lead').getBoundingClientRect().bottom")
    assert lead < SIZES[size][1]
    assert browser.value("document.querySelector('h1 svg').getBoundingClientRect().width") > 20


@pytest.mark.parametrize("size", SIZES)
def test_headings_charts_and_tables_are_laid_out(browser, pages, size):
    shown(browser, pages, "good", size)
    headings = browser.value("[...document.querySelectorAll('h2')].map(h => h.innerText.trim())")
    assert [text.split()[0] for text in headings] == ["Summary", "encoder.onnx", "encoder.tflite", "How"]
    charts = browser.value(
        "[...document.querySelectorAll('figure svg')].map(s => { const r = s.getBoundingClientRect();"
        "return [r.width, r.height, r.left, r.right]; })"
    )
    assert len(charts) == 6
    for width, height, left, right in charts:
        assert width > 300
        assert height > 150
        assert left >= 0
        assert right <= SIZES[size][0]
    # Labels inside a chart neither leave it nor cover one another.
    clashes = browser.value(
        "[...document.querySelectorAll('figure svg')].flatMap(s => { const box = s.getBoundingClientRect();"
        "const t = [...s.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);"
        "return t.filter(([n, r], i) => r.left < box.left - 1 || r.right > box.right + 1 || r.bottom > box.bottom + 1"
        "|| t.slice(i + 1).some(([m, q]) => r.left < q.right && q.left < r.right && r.top + 3 < q.bottom - 3 &&"
        "q.top + 3 < r.bottom - 3)).map(([n]) => n); })"
    )
    assert clashes == []


def test_wide_tables_scroll_in_their_own_box(browser, pages):
    shown(browser, pages, "bad", "phone")
    boxes = browser.value(
        "[...document.querySelectorAll('.scroll')].filter(b => b.offsetParent)"
        ".map(b => [b.scrollWidth > b.clientWidth, b.getBoundingClientRect().right <= innerWidth])"
    )
    assert len(boxes) > 5
    assert any(scrolls for scrolls, _ in boxes)
    assert all(inside for _, inside in boxes)


@pytest.mark.parametrize("name", ["good", "bad", "absent"])
def test_both_schemes_are_drawn(browser, pages, name):
    found = {}
    for scheme in ("light", "dark"):
        shown(browser, pages, name, "desktop", scheme)
        found[scheme] = browser.value(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
            "getComputedStyle(document.querySelector('h1')).color]"
        )
    light, dark = found["light"], found["dark"]
    assert all(one != other for one, other in zip(light, dark, strict=True))

    def brightness(colour):
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    assert brightness(light[0]) > 600 > 200 > brightness(dark[0])
    assert brightness(light[1]) < brightness(light[0])
    assert brightness(dark[1]) > brightness(dark[0])


def test_a_link_leads_to_its_artifact_and_what_is_folded_opens(browser, pages):
    shown(browser, pages, "many", "phone")
    assert browser.value("document.documentElement.scrollWidth") <= 390
    opened = "[...document.querySelectorAll('section.artifact > details')].filter(d => d.open).length"
    assert browser.value(opened) == 1
    browser.value("document.querySelector('.wrong a').click()")
    assert browser.value("document.querySelector('#a50').getBoundingClientRect().top < innerHeight")
    assert browser.value("document.querySelector('#a50').innerText").startswith("decoder.onnx")
    browser.value("document.querySelector('section.artifact summary').click()")
    assert browser.value(opened) == 2


def test_what_is_folded_is_printed(browser, pages):
    shown(browser, pages, "many", "desktop")
    height = "document.querySelector('section.artifact > details').getBoundingClientRect().height"
    folded = browser.value(height)
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.value(height) > 5 * folded
