"""Sounds on the page in headless Chromium: hear, loop, select a part, drag, mark, pictures, locate words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from browsing import axe, durations, expected, names, search, until, wait_for
from live import live_server

import aural
import aural.serve
from aural.search.library import Library
from aural.search.query import combine
from sketch import SketchEmbedder

pytestmark = pytest.mark.slow


def test_arrow_keys_audition(page: Any, served: Library) -> None:
    search(page, served)
    page.focus("#words")
    for number in (1, 2, 3):
        page.keyboard.press("ArrowDown")
        page.wait_for_selector(f".hit:nth-child({number}).on")
        until(page, "document.querySelectorAll('.hit.on').length === 1")  # the last one stops
    until(page, "document.getElementById('bar-time').textContent !== '0:00.0'")
    assert page.inner_text("#bar-name") == names(page)[2]
    page.keyboard.press("ArrowUp")
    page.wait_for_selector(".hit:nth-child(2).on")
    page.keyboard.press("Escape")
    page.wait_for_selector(".hit:nth-child(2):not(.on)")
    page.click("#bar-next")
    page.wait_for_selector(".hit:nth-child(3).on")
    page.click(".hit:nth-child(1) .play")
    page.wait_for_selector(".hit:nth-child(1).on")
    assert not page.query_selector(".hit:nth-child(3).on")
    assert axe(page) == []
    name = names(page)[1]
    file = next(held.file for held in served.files().values() if held.path.endswith(name))
    page.focus(".hit:nth-child(2)")
    page.keyboard.press("m")
    wait_for(page, expected(served, ["rain"], [], like=[file]))
    assert page.inner_text("#example-name") == name
    page.go_back()
    wait_for(page, expected(served, ["rain"], []))
    page.go_forward()
    wait_for(page, expected(served, ["rain"], [], like=[file]))
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "words"


def test_loop_and_volume_are_kept(page: Any, served: Library) -> None:
    search(page, served)
    lengths = durations(served)
    shortest = min(lengths, key=lengths.__getitem__)
    page.fill("#path", Path(shortest).name)
    wait_for(page, [Path(shortest).name])
    page.click(".hit .play")
    page.wait_for_selector(".hit.on")
    page.click("#bar-loop")
    page.evaluate("document.querySelector('#bar-volume').value = 0.3")
    page.dispatch_event("#bar-volume", "input")
    page.wait_for_timeout(900)  # three times its length
    assert page.query_selector(".hit.on")
    page.click("#bar-loop")
    page.wait_for_selector(".hit:not(.on)")
    page.reload()
    page.wait_for_selector(".hit")
    assert page.evaluate("document.querySelector('#bar-volume').value") == "0.3"


def test_a_part_is_selected_and_downloaded(page: Any, served: Library) -> None:
    import soundfile

    path, duration_s = next(one for one in durations(served).items() if one[0].endswith("20.wav"))
    search(page, served)
    page.fill("#path", "20.wav")
    wait_for(page, ["20.wav"])
    box = page.locator(".hit .wave").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.25 * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], middle, steps=4)
    page.mouse.up()
    page.wait_for_selector("#region:not([hidden])")
    start_s, end_s = (float(page.input_value(f"#region-{edge}")) for edge in ("start", "end"))
    assert start_s == pytest.approx(0.25 * duration_s, abs=0.1)
    assert end_s == pytest.approx(0.5 * duration_s, abs=0.1)
    page.fill("#region-start", "2")
    page.fill("#region-end", "3.5")
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.click("#region-download")
    samples, rate = soundfile.read(download.value.path())
    want = soundfile.read(path)[0][2 * rate : round(3.5 * rate)]
    assert abs(samples - want).max() < 2**-22
    assert download.value.suggested_filename == "20 2.00-3.50 s.wav"
    assert axe(page) == []
    page.click("#region-clear")
    page.wait_for_selector("#region", state="hidden")


def test_a_drag_carries_the_file(page: Any, served: Library, address: str) -> None:
    search(page, served)
    carried = page.evaluate("""() => {
      const data = new DataTransfer(), name = document.querySelector('.hit .name');
      name.dispatchEvent(new DragEvent('dragstart', { dataTransfer: data, bubbles: true }));
      return { name: name.textContent, file: data.getData('DownloadURL'), path: data.getData('text/plain') };
    }""")
    assert re.fullmatch(
        rf"application/octet-stream:{carried['name']}:{address}/v1/audio/[0-9a-f]{{16}}", carried["file"]
    )
    assert carried["path"] in served.files()


def test_marks(page: Any, served: Library) -> None:
    search(page, served)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    name = names(page)[1]
    row = ".hit:nth-child(2)"
    page.focus(row)
    for key in ("f", "d"):
        page.keyboard.press(key)
    page.wait_for_selector(f"{row} .facts div")
    page.click(f"{row} .stars button:nth-child(4)")
    page.fill(f"{row} .new input", "storm & <b>wind")
    page.keyboard.press("Enter")
    page.wait_for_selector("#marks .chip:has-text('storm & <b>wind')")
    page.fill(f"{row} textarea", "wet")
    page.click(f"{row} .copy")
    until(page, "document.getElementById('toast').textContent === 'Path copied.'")
    assert page.evaluate("navigator.clipboard.readText()") in served.files()
    assert axe(page) == []
    page.fill("#words", "")
    page.click("#marks .chip:has-text('Favorites')")
    wait_for(page, [name])
    page.click("#marks .chip:has-text('storm')")
    page.click("#marks .chip:has-text('4 or more')")
    wait_for(page, [name])
    page.reload()
    wait_for(page, [name])
    page.click(".hit .open")
    until(page, "document.querySelector('.details textarea')?.value === 'wet'")
    page.click(".hit .favorite")
    until(page, "document.querySelector('.favorite').getAttribute('aria-pressed') === 'false'")
    page.reload()
    page.wait_for_selector("#empty:not([hidden])")


def test_a_sound_is_described_and_answers(page: Any, served: Library) -> None:
    search(page, served)
    row = ".hit:nth-child(2)"
    page.click(f"{row} .open")
    page.click(f"{row} .describe")
    reply = f"document.querySelector('{row} .reply').textContent"
    until(page, f"{reply}.includes('the nearest of known sentences')")
    page.fill(f"{row} .ask input", "which is it? rain, wind, dog")
    page.keyboard.press("Enter")
    until(page, f"/^(rain|wind|dog) .[0-9]+%/.test({reply})")
    page.fill(f"{row} .ask input", "which is it?")
    page.keyboard.press("Enter")
    until(page, f"{reply}.includes('answers no free question')")
    assert axe(page) == []


def test_sound_starts_at_the_place_of_the_hit(page: Any, served: Library) -> None:
    search(page, served)
    query = combine(["rain"], [], [], SketchEmbedder().embed_text)
    at, hit = next((i, hit) for i, hit in enumerate(served.search(query, 40)) if hit.start_s > 4)
    row = f".hit:nth-child({at + 1})"
    page.focus(row)
    page.click(f"{row} .play")
    want = f"{int(hit.start_s) // 60}:{round(hit.start_s) % 60:02}"
    assert page.inner_text(f"{row} .kind").startswith(want)
    shown = page.evaluate(
        "row => { const p = document.querySelector(row + ' .place'); return [p.style.left, p.style.width]; }", row
    )
    left, width = (float(text.rstrip("%")) for text in shown)
    assert left == pytest.approx(100 * hit.start_s / hit.duration_s, abs=0.1)
    assert width == pytest.approx(100 * (hit.end_s - hit.start_s) / hit.duration_s, abs=0.1)
    until(page, "document.getElementById('bar-time').textContent !== '0:00.0'")
    minutes, seconds = page.inner_text("#bar-time").split(":")
    assert hit.start_s - 0.2 <= 60 * int(minutes) + float(seconds) <= hit.start_s + 10


def test_pictures(page: Any, served: Library) -> None:
    """Waveform and spectrogram of a sound are different pictures, and neither is empty."""
    search(page, served)
    painted = """() => {
      const canvas = document.querySelector('.hit canvas'), pen = canvas.getContext('2d');
      const pixels = [...pen.getImageData(0, 0, canvas.width, canvas.height).data];
      return pixels.filter((value, i) => i % 4 === 3 && value > 20).length;
    }"""
    page.wait_for_selector(".hit.drawn")
    wave = page.evaluate(painted)
    page.select_option("#picture", "spectrum")
    spectrum = page.evaluate(painted)
    assert min(wave, spectrum) > 500
    assert wave != spectrum


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
        page.click(".hit .open")
        page.click(".hit .find")
        until(page, "document.querySelector('.spans').textContent.includes('trumpet')")
        assert failures == []
