// The list of hits: rows, waveforms that are drawn when they come into view, arrow keys between rows.

import { HitPlayer, stopAll } from "/static/player.js";
import { showSpans } from "/static/spans.js";
import { clock, lasts } from "/static/text.js";

const list = document.getElementById("hits");
const template = document.getElementById("hit");
let players = new Map(); // <li> to HitPlayer
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    players.get(entry.target)?.draw().catch(() => {});
  }
}, { rootMargin: "150px" });

// texts: returns what to locate in a hit.
export function show(hits, onMore, texts) {
  for (const player of players.values()) player.destroy();
  players = new Map();
  list.replaceChildren(...hits.map((found) => {
    const hit = { ...found, name: found.shown.split("/").pop() };  // names may hold characters that reverse the text
    const row = template.content.firstElementChild.cloneNode(true);
    const long = hit.end_s - hit.start_s < hit.duration_s - 0.01;
    row.querySelector(".name").textContent = hit.name;
    const where = row.querySelector(".where");
    const place = long ? `${clock(hit.start_s)} to ${clock(hit.end_s)} of ${clock(hit.duration_s)}` : lasts(hit.duration_s);
    const folder = hit.shown.slice(0, -hit.name.length - 1).split("/").slice(-2).join("/");
    where.textContent = `${place} · ${folder}${hit.silent ? " · silence" : ""}${hit.word_score > 0 ? " · words match" : ""} `;
    where.title = hit.shown;
    for (const tag of hit.tags) {
      const chip = document.createElement("span");
      chip.className = "tag";
      chip.textContent = tag;
      where.append(chip);
    }
    row.querySelector(".score").textContent = hit.score.toFixed(3);
    const more = row.querySelector(".more");
    more.setAttribute("aria-label", `similar to ${hit.name}`);
    more.addEventListener("click", () => onMore(hit));
    row.setAttribute("aria-label", `${hit.name}, ${place}, score ${hit.score.toFixed(2)}`);
    const player = new HitPlayer(row, hit);
    const find = row.querySelector(".find");
    find.setAttribute("aria-label", `locate the words in ${hit.name}`);
    find.addEventListener("click", () => showSpans(row, hit, player, texts()));
    player.setPlaying(false);
    players.set(row, player);
    seen.observe(row);
    return row;
  }));
  if (list.firstElementChild) list.firstElementChild.tabIndex = 0;
}

export const stale = (on) => list.classList.toggle("stale", on);
export const repaint = () => players.forEach((player) => player.repaint());
export const focusFirst = () => list.firstElementChild?.focus();

list.addEventListener("keydown", (event) => {
  const row = event.target.closest(".hit");
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const rows = [...list.children], at = rows.indexOf(row);
  const goes = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (goes !== undefined) {
    event.preventDefault();
    if (goes < 0) return document.getElementById("words").focus();
    const next = rows[Math.min(goes, rows.length - 1)];
    row.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  } else if ((event.key === " " || event.key === "Enter") && event.target === row) {
    event.preventDefault();
    players.get(row).toggle();
  } else if (event.key === "l") {
    row.querySelector(".find").click();
  } else if (event.key === "m") {
    row.querySelector(".more").click();
  } else if (event.key === "Escape") {
    stopAll();
  }
});
