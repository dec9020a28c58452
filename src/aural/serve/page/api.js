// Requests to the server. A problem of the server becomes an Error with its sentence; `offline` if nobody answers.

let askForToken = null; // set by app.js: resolves once a token was accepted

export function onTokenNeeded(handler) { askForToken = handler; }

export class ServerError extends Error {
  constructor(message, kind) { super(message); this.kind = kind; }
}

export async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server does not answer. The sounds on this page stay; searching continues when it is back.", "offline");
  }
  if (answer.status === 401 && askForToken && path !== "/v1/session") {
    await askForToken();
    return call(path, options);
  }
  if (!answer.ok) {
    const problem = await answer.json().catch(() => ({}));
    throw new ServerError(problem.detail || `The server answered ${answer.status}.`, answer.status === 503 ? "busy" : "refused");
  }
  return answer.status === 204 ? null : answer.json();
}

const json = (body, signal, method = "POST") => ({
  method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
});

export const caption = (id) => call(`/v1/audio/${id}/caption`, { method: "POST" });
export const ask = (id, question, choices) => call(`/v1/audio/${id}/ask`, json({ question, choices }));
export const library = () => call("/v1/library");
export const map = () => call("/v1/map");
export const session = (token) => call("/v1/session", json({ token }));
export const facets = (where, signal) => call(`/v1/facets${where ? `?where=${encodeURIComponent(where)}` : ""}`, { signal });
export const history = () => call("/v1/history?top=50");
export const describe = (id) => call(`/v1/sounds/${id}`);
export const marks = (ids) => call("/v1/marks", json({ ids }));
export const mark = (id, change) => call(`/v1/marks/${id}`, json(change, undefined, "PATCH"));
export const collections = () => call("/v1/collections");
export const collect = (name, id, on) => call(`/v1/collections/${encodeURIComponent(name)}/${id}`, { method: on ? "PUT" : "DELETE" });

// query: {words: [], minus: [], where, collections: [], favorites, min_stars, order, fold, top, cursor, remember,
// example: null | {id} | {blob, name}}. Without words and example, all sounds that meet the filters are listed.
export function search(query, signal) {
  const { example, order, ...body } = query;
  if (!body.words.length && !example) {
    const { words, minus, remember, fold, ...rest } = body;
    return call("/v1/browse", json({ ...rest, order }, signal));
  }
  if (!example?.blob) return call("/v1/search", json({ ...body, like: example ? [example.id] : [] }, signal));
  const form = new FormData();
  form.append("sound", example.blob, "sound");
  for (const name of ["words", "minus", "collections"]) for (const text of body[name]) form.append(name, text);
  if (body.where) form.append("where", body.where);
  for (const name of ["top", "favorites", "min_stars", "fold"]) form.append(name, body[name]);
  return call("/v1/similar", { method: "POST", body: form, signal });
}

export function locate(hit, texts) {
  const part = hit.duration_s <= SHORT_S ? {} : { start_s: hit.start_s, end_s: hit.end_s };
  return call(`/v1/audio/${hit.id}/locate`, json({ texts, ...part }));
}

const PLAYABLE = new Set(["wav", "flac", "ogg", "oga", "opus", "mp3", "m4a", "m4b", "mp4", "aac", "webm"]);
const SHORT_S = 60;

// Return the sound to play for a hit: the file if it is short and browsers play its format, else the window of the hit.
// first_s and shown_s: what the picture shows, in seconds of the file. at_s: where playback starts, in seconds of the file.
export function soundOf(hit) {
  const kind = hit.name.split(".").pop().toLowerCase();
  if (hit.duration_s <= SHORT_S) {
    const url = PLAYABLE.has(kind) ? `/v1/audio/${hit.id}` : `/v1/audio/${hit.id}/excerpt?start_s=0&end_s=${SHORT_S}`;
    return { url, at_s: hit.start_s, first_s: 0, shown_s: hit.duration_s };
  }
  const end_s = Math.min(hit.end_s, hit.start_s + SHORT_S); // browsing: the window is the complete sound
  const url = `/v1/audio/${hit.id}/excerpt?start_s=${hit.start_s}&end_s=${end_s}`;
  return { url, at_s: hit.start_s, first_s: hit.start_s, shown_s: end_s - hit.start_s };
}

export const fileUrl = (hit) => `/v1/audio/${hit.id}`;
export const partUrl = (hit, { start_s, end_s }) => `/v1/audio/${hit.id}/excerpt?start_s=${start_s.toFixed(3)}&end_s=${end_s.toFixed(3)}&original=true`;
