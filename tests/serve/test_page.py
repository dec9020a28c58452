"""The page in headless Chromium: search, play, drop a sound, subtract, filter, use the map; by mouse and keyboard."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live import live_server

import aural
import aural.serve
from aural.search.filters import parse_filter
from aural.search.library import Library
from aural.search.query import combine
from aural.serve.settings import Settings
from sketch import SketchEmbedder

pytestmark = pytest.mark.slow
sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync"]
FLAGS += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--disable-component-update"]
DROP = """async (id) => {
  const blob = await (await fetch(`/v1/audio/${id}`)).blob(), data = new DataTransfer();
  data.items.add(new File([blob], "mine.wav"));
  for (const kind of ["dragenter", "drop"]) {
    dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""
SMALL = """[...document.querySelectorAll('button, select, input:not([hidden])')]
  .filter(e => e.offsetParent && e.getBoundingClientRect().height < 24).length"""
DARK = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium on this machine")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(served: Library) -> Iterator[str]:
    with live_server(served) as address:
        yield address


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """A page that must neither fail nor ask any other host."""
    context = browser.new_context(viewport={"width": 1200, "height": 850}, permissions=["microphone"])
    page, failures, elsewhere = context.new_page(), [], []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((address, "blob:", "data:")) else elsewhere.append(r.url))
    page.goto(address)
    page.wait_for_selector("#library:not(:empty)")
    yield page
    context.close()
    assert (failures, elsewhere) == ([], [])


def names(page: Any) -> list[str]:
    return list(page.evaluate("[...document.querySelectorAll('.hit .name')].map(e => e.textContent)"))


def until(page: Any, truth: str, seconds: float = 60.0) -> None:
    """Ask until an expression is true (the page's policy forbids Playwright's own way, which builds code from text)."""
    end = time.monotonic() + seconds
    while not page.evaluate(truth):
        assert time.monotonic() < end, f"never true: {truth}"
        page.wait_for_timeout(30)


def wait_for(page: Any, want: list[str]) -> None:
    """Until the list holds these names in this order."""
    end = time.monotonic() + 20
    while names(page) != want and time.monotonic() < end:
        page.wait_for_timeout(30)
    assert names(page) == want


def expected(
    library: Library, words: list[str], minus: list[str], where: str | None = None, like: list[str] | None = None
) -> list[str]:
    """What the library itself answers."""
    vectors = [library.vector(file) for file in like or []]
    query = combine(words, vectors, minus, SketchEmbedder().embed_text)
    hits = library.search(query, 30, parse_filter(where) if where else None, words=words)
    return [hit.path.rsplit("/", 1)[1] for hit in hits]


def test_type_subtract_and_filter(page: Any, served: Library) -> None:
    page.fill("#words", "rain")
    wait_for(page, expected(served, ["rain"], []))
    page.fill("#minus", "wind, dog")
    wait_for(page, expected(served, ["rain"], ["wind", "dog"]))
    page.select_option("#longest", "5")
    page.fill("#path", "Ambience")
    wait_for(page, expected(served, ["rain"], ["wind", "dog"], "duration <= 5 and path ilike '%ambience%'"))
    page.click("summary")
    page.fill("#where", "duration > 2 or silent")
    where = "duration <= 5 and path ilike '%ambience%' and (duration > 2 or silent)"
    wait_for(page, expected(served, ["rain"], ["wind", "dog"], where))
    page.reload()  # the address keeps the question
    wait_for(page, expected(served, ["rain"], ["wind", "dog"], where))
    page.fill("#where", "duraton > 2")
    page.wait_for_selector("#problem:not([hidden])")
    assert 'did you mean "duration"' in page.inner_text("#problem")
    page.fill("#where", "duration > 1000")
    until(page, "document.getElementById('status').textContent.includes('No sounds match')")


def test_hear_on_click_hover_and_by_key(page: Any, served: Library) -> None:
    page.fill("#words", "rain")
    wait_for(page, expected(served, ["rain"], []))
    page.click(".hit:nth-child(1) .play")
    page.wait_for_selector(".hit:nth-child(1).on")
    until(page, "document.querySelector('.hit:nth-child(1) .wave > div:not(.place)') !== null")
    page.hover(".hit:nth-child(3) .wave")
    page.wait_for_selector(".hit:nth-child(3).on")
    assert not page.query_selector(".hit:nth-child(1).on")  # one at a time
    page.mouse.move(5, 5)
    page.wait_for_selector(".hit:nth-child(3):not(.on)")
    page.focus("#words")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    page.wait_for_selector(".hit:nth-child(2).on")
    page.keyboard.press("Escape")
    page.wait_for_selector(".hit:nth-child(2):not(.on)")
    name = names(page)[1]
    file = next(held.file for held in served.files().values() if held.path.endswith(name))
    page.keyboard.press("m")
    wait_for(page, expected(served, ["rain"], [], like=[file]))
    assert page.inner_text("#example-name") == name
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "words"


def test_sound_starts_at_the_place_of_the_hit(page: Any, served: Library) -> None:
    page.fill("#words", "rain")
    wait_for(page, expected(served, ["rain"], []))
    query = combine(["rain"], [], [], SketchEmbedder().embed_text)
    at, hit = next((i, hit) for i, hit in enumerate(served.search(query, 30)) if hit.start_s > 4)
    row = f".hit:nth-child({at + 1})"
    page.focus(row)
    page.click(f"{row} .play")
    want = f"{int(hit.start_s) // 60}:{round(hit.start_s) % 60:02}"
    assert page.inner_text(f"{row} .where").startswith(want)
    shown = page.evaluate(
        "row => { const p = document.querySelector(row + ' .place'); return [p.style.left, p.style.width]; }", row
    )
    left, width = (float(text.rstrip("%")) for text in shown)
    assert left == pytest.approx(100 * hit.start_s / hit.duration_s, abs=0.1)
    assert width == pytest.approx(100 * (hit.end_s - hit.start_s) / hit.duration_s, abs=0.1)


def test_drop_record_and_choose_a_sound(page: Any, served: Library, address: str) -> None:
    held = next(held for held in served.files().values() if held.path.endswith("07.wav"))
    found = page.request.post(f"{address}/v1/search", data={"words": ["x"], "where": "path like '%07.wav'"}).json()
    page.evaluate(DROP, found["hits"][0]["id"])  # the server's ids are not those of the library
    page.wait_for_selector(".hit")
    assert (names(page)[0], page.inner_text("#example-name")) == ("07.wav", "mine.wav")
    page.click("#example-drop")
    page.wait_for_selector("#start:not([hidden])")
    page.click("#record")
    page.wait_for_selector("#record[aria-pressed='true']")
    page.wait_for_timeout(800)
    page.click("#record")
    page.wait_for_selector(".hit")
    assert page.inner_text("#example-name") == "the recording"
    page.set_input_files("#file", held.path)
    until(page, "document.querySelector('.hit .name').textContent === '07.wav'")
    page.set_input_files("#file", {"name": "x.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
    page.wait_for_selector("#problem:not([hidden])")
    assert "not a sound file" in page.inner_text("#problem")


def test_the_map(page: Any) -> None:
    page.fill("#words", "rain")
    page.click("#tab-map")
    until(page, "document.getElementById('map-status').textContent.includes('40 sounds')")
    page.focus("#map")
    for key in ("ArrowRight", "ArrowRight", "+", "ArrowLeft"):
        page.keyboard.press(key)
    chosen = page.inner_text("#map-status strong")
    assert chosen.endswith((".wav", ".flac"))
    page.keyboard.press("m")
    page.wait_for_selector(".hit")
    assert page.inner_text("#example-name") == chosen
    assert page.is_visible("#results")


def test_light_dark_and_phone(page: Any, browser: Any, address: str) -> None:
    page.emulate_media(color_scheme="light")
    light = page.evaluate(DARK)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(DARK) != light
    page.click("#theme")
    assert page.evaluate(DARK) == light
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    phone = context.new_page()
    phone.goto(f"{address}/#words=rain")
    phone.wait_for_selector(".hit")
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    assert phone.evaluate(SMALL) == 0
    context.close()


def test_a_token_is_asked_for(browser: Any, served: Library) -> None:
    with live_server(served, Settings(host="0.0.0.0", token="long-enough-token")) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#door[open]")
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#door-problem:not([hidden])")
        page.fill("#token", "long-enough-token")
        page.keyboard.press("Enter")
        page.wait_for_selector("#library:not(:empty)")
        page.fill("#words", "rain")
        page.wait_for_selector(".hit")
        context.close()


def test_every_file_of_the_page_is_in_the_package() -> None:
    folder = Path(aural.serve.__file__).parent / "page"
    text = "".join(path.read_text() for path in folder.glob("*.*") if path.suffix in (".html", ".js", ".css"))
    for name in set(re.findall(r"/static/([\w./-]+)", text)):
        assert (folder / name).is_file(), name
    assert "BSD 3-Clause" in (folder / "vendor" / "wavesurfer.LICENSE").read_text()


def test_words_are_located_in_a_hit(browser: Any, tmp_path: Path) -> None:
    """The real model on two sounds in one file: a highlight, and a button that plays from the onset, by keyboard."""
    import numpy as np
    import soundfile

    from aural.audio.io import read

    sounds = Path(aural.__file__).parent / "sounds"
    names = ("crickets-chirping", "rooster-crowing", "crickets-chirping")
    parts = [read(sounds / f"{name}.ogg", sample_rate_hz=24000, mono=True).samples[0] for name in names]
    soundfile.write(tmp_path / "night.wav", np.concatenate(parts), 24000)
    model = aural.load("libre-small", device="cpu")
    library = Library.create(tmp_path / "library", model, model="libre-small")
    list(library.add([tmp_path / "night.wav"], model))
    onset_s, total_s = len(parts[0]) / 24000, len(np.concatenate(parts)) / 24000
    with live_server(library, embedder=model) as address:
        page = browser.new_context(viewport={"width": 1200, "height": 850}).new_page()
        failures: list[str] = []
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.goto(f"{address}/#words=a+rooster+crowing")
        page.wait_for_selector(".hit")
        page.focus("#words")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("l")
        page.wait_for_selector(".hit .span")
        until(page, "document.activeElement.classList.contains('span')")
        text = page.inner_text(".hit .span")
        assert re.fullmatch(r"a rooster crowing \d+\.\d s to \d+\.\d s, \d+%", text), text
        left = page.evaluate(
            "document.querySelector('.mark.chosen').offsetLeft / document.querySelector('.wave').offsetWidth"
        )
        assert abs(left - onset_s / total_s) < 0.33 / total_s + 0.01
        page.keyboard.press("Enter")
        page.wait_for_selector(".hit.on")
        page.keyboard.press("Escape")
        page.fill("#words", "a trumpet")
        page.wait_for_timeout(500)
        page.wait_for_selector(".hit")
        page.click(".hit .find")
        until(page, "document.querySelector('.spans').textContent.includes('trumpet')")
        assert failures == []
