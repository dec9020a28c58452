// The details of a hit: facts, path, rating, collections, note, download.

import * as api from "/static/api.js";
import { connect } from "/static/ask.js";

const template = document.getElementById("details");
const NAMES = {
  title: "Title", artist: "Artist", genre: "Genre", description: "Description", category: "Category", subcategory: "Subcategory",
  creator: "Creator", lufs: "Loudness", peak_db: "Peak", brightness_hz: "Brightness", loop: "Loop", bpm: "Tempo", key: "Key",
};
const UNITS = { lufs: " LUFS", peak_db: " dB", brightness_hz: " Hz", bpm: " BPM" };

export function close(row) { row.querySelector(".details")?.remove(); }

// item: of player.js. on: {toast(text), changed(), locate(), copy()}
export async function open(row, item, on) {
  const { hit } = item, panel = template.content.firstElementChild.cloneNode(true);
  row.append(panel);
  const link = panel.querySelector(".download");
  link.href = api.fileUrl(hit);
  link.download = hit.name;
  panel.querySelector(".copy").addEventListener("click", on.copy);
  panel.querySelector(".find").addEventListener("click", on.locate);
  panel.querySelector(".path").textContent = hit.shown;
  connect(panel.querySelector(".ask"), hit);
  try {
    const [sound, marks, names] = await Promise.all([api.describe(hit.id), api.marks([hit.id]), api.collections()]);
    showFacts(panel.querySelector(".facts"), sound);
    const mine = marks.sounds[0];
    showStars(panel.querySelector(".stars"), hit, mine, on);
    showCollections(panel, hit, new Set(mine.collections), Object.keys(names.collections), on);
    connectNote(panel.querySelector(".note-text"), hit, mine.note, on);
  } catch (error) {
    on.toast(error.message);
  }
}

function showFacts(list, sound) {
  const rows = [
    ["Length", `${sound.duration_s.toFixed(2)} s`], ["Format", sound.format], ["Channels", String(sound.channels)],
    ["Sample rate", `${sound.sample_rate_hz.toLocaleString("en")} Hz`], ["Size", `${(sound.size_bytes / 1024).toLocaleString("en", { maximumFractionDigits: 0 })} KiB`],
    ...Object.entries(NAMES).filter(([name]) => name in sound.facts).map(([name, text]) => [text, shown(name, sound.facts[name])]),
    ...(sound.tags.length ? [["Tags", sound.tags.join(", ")]] : []),
  ];
  list.replaceChildren(...rows.map(([name, value]) => {
    const pair = document.createElement("div"), term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    pair.append(term, text);
    return pair;
  }));
}

function shown(name, value) {
  if (name === "loop") return value ? "yes" : "no, one-shot";
  return typeof value === "number" ? `${value.toFixed(name === "brightness_hz" ? 0 : 1)}${UNITS[name] || ""}` : value;
}

function showStars(group, hit, marks, on) {
  const paint = (stars) => [...group.children].forEach((button, i) => {
    button.setAttribute("aria-pressed", String(i < stars));
    button.textContent = i < stars ? "★" : "☆";
  });
  let stars = marks.stars;
  group.replaceChildren(...[1, 2, 3, 4, 5].map((number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "plain square";
    button.setAttribute("aria-label", `${number} of 5 stars`);
    button.addEventListener("click", async () => {
      const before = stars;
      stars = stars === number ? 0 : number;
      paint(stars);
      await api.mark(hit.id, { stars }).then(on.changed, (error) => { stars = before; paint(stars); on.toast(error.message); });
    });
    return button;
  }));
  paint(stars);
}

function showCollections(panel, hit, mine, names, on) {
  const chips = panel.querySelector(".collections"), form = panel.querySelector(".new"), input = form.querySelector("input");
  const chipOf = (name) => {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.className = "chip";
    chip.textContent = name;
    chip.setAttribute("aria-pressed", String(mine.has(name)));
    chip.addEventListener("click", async () => {
      const add = chip.getAttribute("aria-pressed") !== "true";
      chip.setAttribute("aria-pressed", String(add));
      await api.collect(name, hit.id, add).then(on.changed, (error) => { chip.setAttribute("aria-pressed", String(!add)); on.toast(error.message); });
    });
    return chip;
  };
  chips.replaceChildren(...names.map(chipOf));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = input.value.trim();
    if (!name) return;
    try {
      await api.collect(name, hit.id, true);
      mine.add(name);
      if (![...chips.children].some((chip) => chip.textContent === name)) chips.append(chipOf(name));
      else [...chips.children].find((chip) => chip.textContent === name).setAttribute("aria-pressed", "true");
      input.value = "";
      on.changed();
    } catch (error) {
      on.toast(error.message);
    }
  });
}

function connectNote(field, hit, note, on) {
  field.value = note;
  field.addEventListener("change", () => api.mark(hit.id, { note: field.value }).then(() => on.toast("Note stored."), (error) => on.toast(error.message)));
}
