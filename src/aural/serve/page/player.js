// Play one sound at a time. wavesurfer.js draws the waveforms when they come into view.

import WaveSurfer from "/static/vendor/wavesurfer.esm.js";
import { soundOf } from "/static/api.js";

const HOVER_MS = 150;
let current = null; // the player that plays now
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class HitPlayer {
  // row: the <li>; hit: a hit of the server.
  constructor(row, hit) {
    this.row = row;
    this.sound = soundOf(hit);
    this.hit = hit;
    this.surfer = null;
    this.byHover = false;
    const wave = row.querySelector(".wave");
    row.querySelector(".play").addEventListener("click", () => this.toggle());
    let waiting;
    wave.addEventListener("pointerenter", (event) => {
      if (event.pointerType !== "mouse" || this.playing) return;
      waiting = setTimeout(() => { this.byHover = true; this.play(); }, HOVER_MS);
    });
    wave.addEventListener("pointerleave", () => {
      clearTimeout(waiting);
      if (this.byHover) this.stop();
    });
    wave.addEventListener("click", () => { this.byHover = false; });
    const { from_s, to_s, shown_s } = this.sound;
    if (to_s && to_s - from_s < shown_s - 0.01) {
      const place = row.querySelector(".place");
      place.style.left = `${(100 * from_s) / shown_s}%`;
      place.style.width = `${(100 * (to_s - from_s)) / shown_s}%`;
    }
  }

  get playing() { return current === this; }

  draw() {
    if (this.surfer) return this.ready;
    const container = this.row.querySelector(".wave");
    this.surfer = WaveSurfer.create({
      container, url: this.sound.url, height: 48, normalize: true, barWidth: 2, barGap: 1, barRadius: 1, cursorWidth: 0,
      waveColor: color("--wave"), progressColor: color("--accent"), dragToSeek: false,
    });
    this.ready = new Promise((done, failed) => {
      this.surfer.once("ready", done);
      this.surfer.once("error", failed);
    });
    container.classList.add("loading");
    this.row.setAttribute("aria-busy", "true");
    const end = (failed) => {
      container.classList.remove("loading");
      container.classList.toggle("failed", failed);
      this.row.removeAttribute("aria-busy");
    };
    this.ready.then(() => end(false), () => end(true));
    this.surfer.on("interaction", () => { this.byHover = false; this.play(null); });
    this.surfer.on("finish", () => this.setPlaying(false));
    return this.ready;
  }

  // at_s: where to start, by default at the window of the hit; null continues from the current position.
  async play(at_s = this.sound.at_s) {
    if (current && current !== this) current.stop();
    current = this;
    this.setPlaying(true);
    try {
      await this.draw();
      if (current !== this) return;
      if (at_s !== null) this.surfer.setTime(at_s);
      await this.surfer.play();
    } catch (error) {
      if (current === this) this.setPlaying(false);
      if (error.name !== "NotAllowedError" && error.name !== "AbortError") this.row.querySelector(".wave").classList.add("failed");
    }
  }

  stop() {
    this.byHover = false;
    if (this.surfer) this.surfer.pause();
    this.setPlaying(false);
  }

  toggle() { return this.playing ? this.stop() : this.play(); }

  setPlaying(on) {
    if (!on && current === this) current = null;
    this.row.classList.toggle("on", on);
    const button = this.row.querySelector(".play");
    button.textContent = on ? "❚❚" : "▶";
    button.setAttribute("aria-label", `${on ? "Stop" : "Play"} ${this.hit.name}`);
  }

  repaint() {
    if (this.surfer) {
      this.surfer.setOptions({ waveColor: color("--wave"), progressColor: color("--accent") });
    }
  }

  destroy() {
    this.stop();
    if (this.surfer) this.surfer.destroy();
  }
}

let lone = null; // a sound without a waveform: of the map or the example
export async function playUrl(url, at_s = 0) {
  stopAll();
  lone = new Audio(url);
  lone.currentTime = at_s;
  await lone.play().catch(() => {});
}

export function stopAll() {
  if (current) current.stop();
  if (lone) lone.pause();
  lone = null;
}
