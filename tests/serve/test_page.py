"""The page in headless Chromium: search, filter, record, go back, map, problems; by mouse and keyboard."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from browsing import axe, durations, expected, names, search, until, wait_for
from live import live_server

import aural
import aural.serve
from aural.search.library import Library
from aural.serve.settings import Settings
from library_toys import add_all, write_sound

pytestmark = pytest.mark.slow
WATCH_LEVEL = """() => { window.highest = 0; setInterval(() => {
  window.highest = Math.max(window.highest, document.getElementById('level').value); }, 20); }"""
DROP = """async (id) => {
  const blob = await (await fetch(`/v1/audio/${id}`)).blob(), data = new DataTransfer();
  data.items.add(new File([blob], "mine.wav"));
  for (const kind of ["dragenter", "drop"]) {
    dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
  }
}"""
SMALL = """[...document.querySelectorAll('button, select, input:not([hidden]):not([type=range])')]
  .filter(e => e.offsetParent && e.getBoundingClientRect().height < 24).length"""
DARK = "getComputedStyle(document.body).backgroundColor"


def test_type_subtract_and_filter(page: Any, served: Library) -> None:
    search(page, served)
    page.fill("#minus", "wind, dog")
    wait_for(page, expected(served, ["rain"], ["wind", "dog"]))
    page.click("[data-name=duration] .chip:has-text('1 to 5 s')")
    page.fill("#path", "Ambience")
    where = "duration >= 1 and duration < 5 and path ilike '%ambience%'"
    wait_for(page, expected(served, ["rain"], ["wind", "dog"], where))
    page.click("#expert summary")
    page.fill("#where", "duration > 3 or silent")
    where = f"{where} and (duration > 3 or silent)"
    wait_for(page, expected(served, ["rain"], ["wind", "dog"], where))
    page.reload()  # the address keeps the question
    wait_for(page, expected(served, ["rain"], ["wind", "dog"], where))
    page.fill("#where", "duraton > 2")
    page.wait_for_selector("#problem:not([hidden])")
    assert 'did you mean "duration"' in page.inner_text("#problem")
    page.fill("#where", "duration > 1000")
    page.wait_for_selector("#empty:not([hidden])")
    assert axe(page) == []
    page.click("#empty-clear")
    wait_for(page, expected(served, ["rain"], []))


def test_facets_count_and_combine(page: Any, served: Library) -> None:
    """Values of one facet are alternatives, facets are all required, and a facet is counted without its selection."""
    lengths = durations(served).values()
    short, middle = sum(value < 1 for value in lengths), sum(1 <= value < 5 for value in lengths)
    chip = "[data-name=duration] .chip:has-text('{}')"
    assert page.inner_text(chip.format("under 1 s") + " .count") == str(short)
    page.click(chip.format("under 1 s"))  # without words: the sounds are listed
    until(page, f"document.querySelectorAll('.hit').length === {short}")
    page.click(chip.format("1 to 5 s"))
    until(page, f"document.querySelectorAll('.hit').length === {short + middle}")
    page.click("[data-name=format] .chip:has-text('flac')")
    until(page, "document.querySelectorAll('.hit').length === 1")
    assert names(page) == ["silent.flac"]
    assert page.inner_text(chip.format("1 to 5 s") + " .count") == "0"
    page.go_back()
    until(page, f"document.querySelectorAll('.hit').length === {short + middle}")
    page.click("#active .chip >> nth=0")
    until(page, f"document.querySelectorAll('.hit').length === {middle}")
    assert axe(page) == []
    page.click("#clear")
    page.wait_for_selector("#start:not([hidden])")


def test_the_list_goes_on(page: Any, served: Library, browser: Any) -> None:
    """A page holds 40 sounds; the library has as many, so the page is made shorter by the request."""

    def shorter(route: Any) -> None:
        route.continue_(post_data={**route.request.post_data_json, "top": 15})

    page.route("**/v1/search", shorter)
    page.fill("#words", "rain")
    page.wait_for_selector(".hit")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    wait_for(page, expected(served, ["rain"], []))
    assert not page.is_visible("#more")


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
    page.evaluate(WATCH_LEVEL)
    until(page, "Number(document.getElementById('left').textContent) < 9.5")
    until(page, "window.highest > 0.05 || document.getElementById('recorder').hidden")  # Chromium's test tone beeps
    assert page.evaluate("window.highest") > 0.05
    page.evaluate("document.getElementById('record-stop').click()")  # it ends after 10 s, also on a slow machine
    page.wait_for_selector(".hit")
    assert page.inner_text("#example-name") == "the recording"
    page.click("#record")
    page.wait_for_selector("#recorder:not([hidden])")
    page.evaluate("document.getElementById('record-cancel').click()")
    page.wait_for_selector("#recorder", state="hidden")
    page.set_input_files("#file", held.path)
    until(page, "document.querySelector('.hit .name')?.textContent === '07.wav'")
    page.set_input_files("#file", {"name": "x.wav", "mimeType": "audio/wav", "buffer": b"no sound"})
    page.wait_for_selector("#problem:not([hidden])")
    assert "not a sound file" in page.inner_text("#problem")


def test_the_map(page: Any) -> None:
    page.fill("#words", "rain")
    page.click("#tab-map")
    until(page, "document.getElementById('map-status').textContent.includes('40 sounds')")
    assert page.evaluate("document.querySelectorAll('#legend .chip').length") >= 1
    total = page.evaluate(
        "[...document.querySelectorAll('#legend .count')].reduce((n, e) => n + Number(e.textContent), 0)"
    )
    assert total == 40
    page.click("#legend .chip")
    assert page.get_attribute("#legend .chip", "aria-pressed") == "true"
    assert axe(page) == []
    page.focus("#map")
    for key in ("ArrowRight", "ArrowRight", "+", "ArrowLeft"):
        page.keyboard.press(key)
    chosen = page.inner_text("#map-status strong")
    assert chosen.endswith((".wav", ".flac"))
    page.keyboard.press("m")
    page.wait_for_selector(".hit")
    assert page.inner_text("#example-name") == chosen
    assert page.is_visible("#results")
    page.go_back()
    page.wait_for_selector("#map-view:not([hidden])")


def test_a_map_that_takes_longer_than_a_request(page: Any) -> None:
    """The server refuses the first request with its time limit; the page asks again."""
    asked = []

    def answer(route: Any) -> None:
        asked.append(route.request.url)
        if len(asked) > 1:
            return route.continue_()
        problem = {"type": "about:blank", "title": "late", "status": 503, "detail": "took longer than 60 s"}
        return route.fulfill(status=503, content_type="application/problem+json", json=problem)

    page.route("**/v1/map", answer)
    page.click("#tab-map")
    until(page, "document.getElementById('map-status').textContent.includes('40 sounds')")
    assert len(asked) == 2


def test_a_server_that_is_away(page: Any, served: Library) -> None:
    search(page, served)
    page.route("**/v1/**", lambda route: route.abort())
    page.fill("#words", "wind")
    page.wait_for_selector("#problem:not([hidden])")
    assert "does not answer" in page.inner_text("#problem")
    assert names(page) == expected(served, ["rain"], [])  # the last hits stay
    assert axe(page) == []
    page.unroute("**/v1/**")
    page.click("#problem-retry")
    wait_for(page, expected(served, ["wind"], []))
    assert not page.is_visible("#problem")


def test_waiting_shows_placeholders(page: Any) -> None:
    page.route("**/v1/search", lambda route: None)
    page.fill("#words", "rain")
    page.wait_for_selector("#loading:not([hidden])")
    assert axe(page) == []


def test_names_of_files_are_text(browser: Any, tmp_path: Path) -> None:
    """Names that look like HTML or turn the direction of text are shown as they are, everywhere."""
    from library_toys import add_all, write_sound

    name = "<img src=x onerror=document.title='bad'>\u202egnp.wav"
    write_sound(tmp_path / "sounds" / name, 1.0, 0)
    write_sound(tmp_path / "sounds" / "other.wav", 1.0, 1)
    with live_server(add_all(tmp_path)) as address:
        page = browser.new_context().new_page()
        page.goto(f"{address}/#words=img")
        page.wait_for_selector(".hit")
        page.click(".hit .play")
        page.click(".hit .open")
        page.wait_for_selector(".facts div")
        page.click(".hit .more")
        page.click("#tab-map")
        until(page, "document.querySelectorAll('#legend .chip').length > 0")
        page.focus("#map")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.querySelectorAll('main img, #bar img, #example img').length") == 0
        assert "bad" not in page.title()
        assert "\u202e" not in page.inner_text("body")


def test_light_dark_and_phone(page: Any, browser: Any, address: str) -> None:
    page.emulate_media(color_scheme="light")
    light = page.evaluate(DARK)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(DARK) != light
    page.click("#theme")
    assert page.evaluate(DARK) == light
    for scheme in ("light", "dark"):
        size = {"width": 360, "height": 740}
        context = browser.new_context(viewport=size, has_touch=True, is_mobile=True, color_scheme=scheme)
        phone = context.new_page()
        phone.goto(f"{address}/#words=rain")
        phone.wait_for_selector(".hit")
        phone.tap(".hit .play")
        phone.wait_for_selector(".hit.on")
        phone.tap(".hit .open")
        phone.wait_for_selector(".facts div")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360
        assert phone.evaluate(SMALL) == 0
        assert axe(phone) == []
        phone.tap("#filters-open")
        phone.wait_for_selector("[data-name=duration] .chip")
        assert axe(phone) == []
        phone.tap("#filters-close")
        phone.tap("#tab-map")
        until(phone, "document.querySelectorAll('#legend .chip').length > 0")
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360
        assert axe(phone) == []
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


def test_copies_unfold_below_their_hit(browser: Any, tmp_path: Path) -> None:
    for seed, name in enumerate(("rain", "wind", "door")):
        write_sound(tmp_path / "sounds" / f"{name}.wav", 1.0, seed)
    for name in ("b.wav", "c.wav"):
        shutil.copy(tmp_path / "sounds" / "rain.wav", tmp_path / "sounds" / name)
    folded = ["rain.wav", *[name for name in expected(add_all(tmp_path), ["rain"], []) if name != "rain.wav"]]
    with live_server(Library(tmp_path / "library")) as address:
        page = browser.new_page(viewport={"width": 1200, "height": 850})
        page.goto(f"{address}/#words=rain")
        wait_for(page, folded)
        assert page.inner_text(".hit .copies") == "+ 2 copies"
        page.click(".hit .copies")
        wait_for(page, ["rain.wav", "b.wav", "c.wav", *folded[1:]])
        assert axe(page) == []
        page.focus(".hit")
        for name in ("rain.wav", "b.wav"):  # the arrow keys walk through the copies
            page.wait_for_timeout(50)
            page.keyboard.press("ArrowDown" if name == "b.wav" else "Home")
            until(page, f"document.getElementById('bar-name').textContent === '{name}'")
        page.click(".hit .copies")
        wait_for(page, folded)
        page.click("#copies")
        until(page, "document.querySelectorAll('.hit').length === 5")
        assert not page.query_selector(".hit .copies")
        assert "copies=1" in page.url
        page.go_back()
        wait_for(page, folded)
        page.close()
