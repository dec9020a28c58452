"""Use a running page in Chromium through its features, and write a screenshot per state.

    aural serve --library ~/.sounds --port 8765 &
    python tools/walk_page.py http://127.0.0.1:8765 --out out/page

Each state is shown in light and dark, on a wide screen and a phone, checked with axe-core, and printed with its time
and its violations. The exit code is 1 if a state fails or axe reports something. Needs `pip install playwright
axe-playwright-python` and Chromium. Marks that the walk sets (a favorite, a rating, a collection) are removed again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FLAGS = ["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
FLAGS += ["--autoplay-policy=no-user-gesture-required"]
SCREENS = {"wide": (1440, 900), "phone": (390, 844)}
COLLECTION = "walk of the page"


class Walk:
    """One page in one screen size and color scheme."""

    def __init__(self, page: Any, address: str, label: str, out: Path) -> None:
        self.page, self.address, self.label, self.out = page, address, label, out
        self.failures: list[str] = []

    def until(self, truth: str, seconds: float = 60.0) -> None:
        """Wait for an expression; the page's policy forbids Playwright's functions that build code from text."""
        end = time.monotonic() + seconds
        while not self._is_true(truth):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {truth}")
            self.page.wait_for_timeout(50)

    def _is_true(self, truth: str) -> bool:
        from playwright.sync_api import Error

        try:
            return bool(self.page.evaluate(truth))
        except Error as error:
            if "context was destroyed" in str(error):  # the page is being replaced by another one
                return False
            raise

    def hits(self) -> None:
        """Wait for a list that is not stale, with pictures."""
        self.until("document.querySelectorAll('.hit').length > 0 && !document.querySelector('#hits.stale')")
        self.until("document.querySelectorAll('.wave.loading').length === 0")

    def go(self, hash: str = "") -> None:
        """Load the page at an address."""
        self.page.goto("about:blank")
        self.page.goto(f"{self.address}/{hash}")
        self.until("document.getElementById('library').textContent !== ''")

    def state(self, name: str, work: Callable[[], None]) -> None:
        """Bring the page into a state, check it and take its picture."""
        began = time.monotonic()
        try:
            work()
        except Exception as error:
            self.failures.append(f"{name}: {str(error).splitlines()[0]}")
        self.page.wait_for_timeout(150)
        took_s = time.monotonic() - began
        violations = axe(self.page)
        self.failures += [f"{name}: {one}" for one in violations]
        wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        if wide > 0:
            self.failures.append(f"{name}: {wide} pixels too wide")
        self.page.screenshot(path=self.out / f"{name}-{self.label}.png")
        print(f"{self.label:<12} {name:<14} {took_s:6.2f} s  axe {len(violations)}", flush=True)


def axe(page: Any) -> list[str]:
    """Return what axe-core reports, one line per kind."""
    from axe_playwright_python.sync_playwright import Axe

    response = Axe().run(page).response
    return [f"axe {one['id']}: {one['nodes'][0]['target']}" for one in response["violations"]]


def walk(step: Walk, address: str, only: list[str] | None = None) -> None:
    """Go through all states, or some of them (a state may need the one before)."""
    page = step.page

    def start() -> None:
        step.go()
        page.wait_for_selector("#start:not([hidden])")
        step.until("document.querySelectorAll('#facets .facet').length > 0")

    def search() -> None:
        step.go("#words=rain+on+a+roof")
        step.hits()

    def audition() -> None:
        page.focus("#words")
        for _ in range(3):
            page.keyboard.press("ArrowDown")
            page.wait_for_timeout(300)
        step.until("document.querySelectorAll('.hit.on').length === 1")
        step.until("document.querySelector('.hit:nth-child(3)').classList.contains('on')")

    def region() -> None:
        page.locator(".hit:nth-child(2) .wave").scroll_into_view_if_needed()
        box = page.locator(".hit:nth-child(2) .wave").bounding_box()
        y = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + 0.2 * box["width"], y)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], y, steps=5)
        page.mouse.up()
        page.wait_for_selector("#region:not([hidden])")
        with page.expect_download() as download:
            page.click("#region-download")
        content = Path(download.value.path()).read_bytes()
        assert content[:4] == b"RIFF", content[:20]

    def details() -> None:
        page.keyboard.press("Escape")
        page.click(".hit:nth-child(1) .open")
        page.wait_for_selector(".details .facts div")
        page.fill(".details .new input", COLLECTION)
        page.click(".details .new button")
        page.click(".details .stars button:nth-child(4)")
        page.click(".hit:nth-child(1) .favorite")
        page.wait_for_selector(f"#marks .chip:has-text('{COLLECTION}')", state="attached")

    def describe() -> None:
        step.go("#words=a+dog+barking")
        step.hits()
        page.click(".hit:nth-child(1) .open")
        page.wait_for_selector(".details .facts div")
        answered(".ask .describe")

    def ask() -> None:
        page.fill(".ask input", "is there a dog?")
        answered(".ask [type=submit]")

    def choose() -> None:
        page.fill(".ask input", "what is it? a dog, a bell, rain")
        answered(".ask [type=submit]")

    def answered(button: str) -> None:
        page.click(button)
        step.until("!['', 'Listening …'].includes(document.querySelector('.ask .reply').textContent)", 120)
        page.locator(".ask .reply").scroll_into_view_if_needed()
        print(f"{'':<12} {page.inner_text('.ask .reply')}", flush=True)

    def copies() -> None:
        step.go("#words=a+dog+barking")
        step.hits()
        button = page.locator(".hit .copies").first
        if not button.count():
            return  # this library has no copies of the first hits
        button.click()
        page.wait_for_selector(".hit.copy")
        step.hits()
        page.click("#copies")
        page.wait_for_selector(".hit.copy", state="detached")
        page.click("#copies")
        page.locator(".hit .copies").first.click()
        step.hits()

    def endless() -> None:
        search()
        before = page.evaluate("document.querySelectorAll('.hit').length")
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        step.until(f"document.querySelectorAll('.hit').length > {before}")
        step.hits()

    def spectrogram() -> None:
        page.evaluate("scrollTo(0, 0)")
        page.select_option("#picture", "spectrum")
        step.hits()

    def facets() -> None:
        page.select_option("#picture", "wave")
        step.go("#words=metal+hit&f.duration=..1&f.format=flac")
        step.hits()
        if page.is_visible("#filters-open"):
            page.click("#filters-open")
        page.wait_for_selector("#facets .chip[aria-pressed='true']")

    def browse() -> None:
        step.go("#favorites=1")
        step.hits()

    def similar() -> None:
        step.go("#words=a+dog+barking")
        step.hits()
        first = page.inner_text(".hit .name")
        page.focus(".hit")
        page.keyboard.press("m")
        page.wait_for_selector("#example:not([hidden])")
        step.hits()
        page.go_back()
        step.until("document.getElementById('example').hidden")
        step.hits()
        assert page.inner_text(".hit .name") == first
        page.go_forward()
        page.wait_for_selector("#example:not([hidden])")
        step.hits()

    def nothing() -> None:
        step.go("#words=rain&where=duration+%3E+100000")
        page.wait_for_selector("#empty:not([hidden])")

    def wrong() -> None:
        step.go("#words=rain&where=duraton+%3E+2")
        page.wait_for_selector("#problem:not([hidden])")

    def loading() -> None:
        page.route("**/v1/search", lambda route: None)
        step.go("#words=rain")
        page.wait_for_selector("#loading:not([hidden])")

    def offline() -> None:
        page.unroute("**/v1/search")
        search()
        page.route("**/v1/**", lambda route: route.abort())
        page.fill("#words", "thunder")
        page.wait_for_selector("#problem:not([hidden])")
        page.unroute("**/v1/**")

    def recording() -> None:
        step.go()
        page.click("#record")
        page.wait_for_selector("#recorder:not([hidden])")
        page.wait_for_timeout(700)

    def recorded() -> None:
        page.click("#record-stop")
        step.hits()

    def the_map() -> None:
        step.go("#words=a+dog+barking&view=map")
        step.until("document.querySelectorAll('#legend .chip').length > 0", 300)
        page.wait_for_timeout(300)

    def map_group() -> None:
        page.click("#legend .chip:nth-child(2)")
        page.focus("#map")
        for key in ("ArrowRight", "ArrowRight"):
            page.keyboard.press(key)
        page.wait_for_selector("#map-status strong")

    states: dict[str, Callable[[], None]] = {
        "start": start, "search": search, "audition": audition, "region": region, "details": details,
        "describe": describe, "ask": ask, "choose": choose,
        "copies": copies, "endless": endless, "spectrogram": spectrogram, "facets": facets, "browse": browse,
        "similar": similar, "nothing": nothing, "wrong": wrong, "loading": loading, "offline": offline,
        "recording": recording, "recorded": recorded,
        "map": the_map, "map-group": map_group,
    }  # fmt: skip
    forget(page, address)  # of a walk that was interrupted
    for name, work in states.items():
        if not only or name in only:
            step.state(name, work)
    forget(page, address)


def forget(page: Any, address: str) -> None:
    """Remove the marks of the walk."""
    page.request.delete(f"{address}/v1/collections/{COLLECTION}")
    body = {"favorites": True, "min_stars": 4, "top": 100}
    for hit in page.request.post(f"{address}/v1/browse", data=body).json()["hits"]:
        page.request.patch(f"{address}/v1/marks/{hit['id']}", data={"favorite": False, "stars": 0})


def main() -> int:
    """Walk and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--out", type=Path, default=Path("out/page"))
    parser.add_argument("--only", nargs="*", help="such as wide-light phone-dark")
    parser.add_argument("--states", nargs="*", help="such as search audition; all if left out")
    chosen = parser.parse_args()

    from playwright.sync_api import sync_playwright

    chosen.out.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    failures: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for screen, (width, height) in SCREENS.items():
            for scheme in ("light", "dark"):
                label = f"{screen}-{scheme}"
                if chosen.only and label not in chosen.only:
                    continue
                size = {"width": width, "height": height}
                permissions = ["microphone", "clipboard-read", "clipboard-write"]
                context = browser.new_context(viewport=size, color_scheme=scheme, permissions=permissions)
                page = context.new_page()
                step = Walk(page, chosen.address, label, chosen.out)
                page.on("pageerror", lambda error, step=step: step.failures.append(f"script: {error}"))
                walk(step, chosen.address, chosen.states)
                failures += [f"{label}: {one}" for one in step.failures]
                context.close()
        browser.close()
    print("\n".join(failures) or "no failure, no violation")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
