// Filters as chips with counts: favorites, ratings, collections, and the values of every column that is counted.

import * as api from "/static/api.js";
import { filterOf } from "/static/text.js";

const $ = (id) => document.getElementById(id);
const SHOWN = 8;
const GROUPS = {
  tags: "Tags", category: "Category", subcategory: "Subcategory", duration: "Length", loop: "Loop", bpm: "Tempo", key: "Key",
  lufs: "Loudness", brightness_hz: "Brightness", format: "Format", channels: "Channels", creator: "Creator", artist: "Artist", genre: "Genre",
};
const UNITS = { duration: "s", bpm: "BPM", lufs: "LUFS", brightness_hz: "Hz" };
const OF_ANALYSIS = ["category", "loop", "bpm", "key", "lufs", "brightness_hz"];
const unfolded = new Set(), cache = new Map();
let onToggle = () => {}, asking = null, collections = {};

// toggle(change): changes the state; change is a function of the state.
export function connect(toggle) { onToggle = toggle; }

export function textOf(name, value) {
  if (name === "loop") return value === "true" ? "loop" : "one-shot";
  if (name === "channels") return { 1: "mono", 2: "stereo" }[value] || `${value} channels`;
  if (!value.includes("..")) return value;
  const [low, high] = value.split("..");
  if (!low) return `under ${high} ${UNITS[name]}`;
  return high ? `${low} to ${high} ${UNITS[name]}` : `${low} ${UNITS[name]} and more`;
}

function chip(text, count, pressed, change) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "chip";
  button.setAttribute("aria-pressed", String(pressed));
  button.append(text);
  if (count !== null) {
    const number = document.createElement("span");
    number.className = "count";
    number.textContent = count.toLocaleString("en");
    button.append(number);
  }
  button.addEventListener("click", () => onToggle(change));
  return button;
}

export const toggleValue = (name, value) => (state) => {
  const values = state.facets[name] || [];
  state.facets[name] = values.includes(value) ? values.filter((one) => one !== value) : [...values, value];
};
const toggleCollection = (name) => (state) => {
  state.collections = state.collections.includes(name) ? state.collections.filter((one) => one !== name) : [...state.collections, name];
};

function group(title, chips, name = title) {
  const section = document.createElement("section"), heading = document.createElement("h3"), list = document.createElement("div");
  section.className = "facet";
  section.dataset.name = name;
  heading.textContent = title;
  list.className = "chips";
  list.setAttribute("role", "group");
  list.setAttribute("aria-label", title);
  const folded = chips.length > SHOWN + 1 && !unfolded.has(name);
  list.append(...(folded ? chips.filter((one, i) => i < SHOWN || one.getAttribute("aria-pressed") === "true") : chips));
  section.append(heading, list);
  if (chips.length > SHOWN + 1) {
    const more = document.createElement("button");
    more.type = "button";
    more.className = "plain more-values";
    more.textContent = folded ? `Show all ${chips.length}` : "Show fewer";
    more.setAttribute("aria-label", `${more.textContent}: ${title}`);
    more.addEventListener("click", () => {
      if (folded) unfolded.add(name); else unfolded.delete(name);
      const next = group(title, chips, name);
      section.replaceWith(next);
      next.querySelector(".more-values").focus();
    });
    section.append(more);
  }
  return section;
}

function showMarks(state) {
  const chips = [chip("♥ Favorites", null, state.favorites, (next) => { next.favorites = !next.favorites; })];
  for (const stars of [3, 4, 5]) {
    chips.push(chip(stars === 5 ? "★ 5" : `★ ${stars} or more`, null, state.stars === stars, (next) => { next.stars = next.stars === stars ? 0 : stars; }));
  }
  const names = [...new Set([...state.collections, ...Object.keys(collections)])];
  const sections = [group("Marks", chips)];
  if (names.length) sections.push(group("Collections", names.map((name) => chip(name, collections[name] ?? 0, state.collections.includes(name), toggleCollection(name)))));
  replaceKeepingFocus($("marks"), sections);
}

// Replace the chips and give the focus back to the one with the same text.
function replaceKeepingFocus(parent, sections) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const place = focused && [focused.closest(".facet")?.dataset.name, focused.firstChild?.textContent];
  parent.replaceChildren(...sections);
  if (!place) return;
  const section = sections.find((one) => one.dataset.name === place[0]);
  const same = [...(section?.querySelectorAll("button") || [])].find((one) => one.firstChild.textContent === place[1]);
  same?.focus();
}

export async function refreshCollections(state) {
  collections = (await api.collections().catch(() => ({ collections: {} }))).collections;
  showMarks(state);
}

async function counted(where, signal) {
  const key = where || "";
  if (!cache.has(key)) {
    cache.set(key, api.facets(where, signal).then((answer) => answer.facets));
    cache.get(key).catch(() => cache.delete(key));
    if (cache.size > 50) cache.delete(cache.keys().next().value);
  }
  return cache.get(key);
}

// Count the sounds that meet the filters; the values of a facet are counted without its selection.
export async function refresh(state) {
  showMarks(state);
  asking?.abort();
  const { signal } = (asking = new AbortController());
  const selected = Object.keys(state.facets).filter((name) => state.facets[name].length);
  try {
    const all = await counted(filterOf(state), signal);
    const without = await Promise.all(selected.map((name) => counted(filterOf(state, name), signal)));
    const facets = { ...all };
    selected.forEach((name, i) => { facets[name] = without[i][name]; });
    const sections = Object.entries(GROUPS).map(([name, title]) => {
      const counts = { ...Object.fromEntries((state.facets[name] || []).map((value) => [value, 0])), ...facets[name] };
      const chips = Object.entries(counts).map(([value, count]) => chip(textOf(name, value), count, (state.facets[name] || []).includes(value), toggleValue(name, value)));
      return chips.length ? group(title, chips, name) : null;
    });
    replaceKeepingFocus($("facets"), sections.filter(Boolean));
    $("no-facts").hidden = OF_ANALYSIS.some((name) => Object.keys(facets[name] || {}).length) || Boolean(filterOf(state));
  } catch {
    // the search itself reports what is wrong; the last counts stay
  }
}

// Show the active filters as chips that remove themselves.
export function showActive(state) {
  const chips = [];
  const add = (text, change) => {
    const one = chip(`${text} ✕`, null, true, change);
    one.setAttribute("aria-label", `Remove the filter ${text}`);
    one.removeAttribute("aria-pressed");
    one.classList.add("active");
    chips.push(one);
  };
  if (state.favorites) add("♥ Favorites", (next) => { next.favorites = false; });
  if (state.stars) add(`★ ${state.stars} or more`, (next) => { next.stars = 0; });
  for (const name of state.collections) add(name, toggleCollection(name));
  for (const [name, values] of Object.entries(state.facets)) {
    for (const value of values) add(`${GROUPS[name] || name}: ${textOf(name, value)}`, toggleValue(name, value));
  }
  if (state.minus.trim()) add(`not ${state.minus.trim()}`, (next) => { next.minus = ""; });
  if (state.path.trim()) add(`path: ${state.path.trim()}`, (next) => { next.path = ""; });
  if (state.where.trim()) add(state.where.trim(), (next) => { next.where = ""; });
  $("active").replaceChildren(...chips);
  $("active").hidden = !chips.length;
  $("clear").hidden = !chips.length;
  $("filters-open").textContent = chips.length ? `Filters (${chips.length})` : "Filters";
}
