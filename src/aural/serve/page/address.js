// The state of a search in the address, so that links, bookmarks and Back work. An uploaded sound is not part of it.

export const EMPTY = {
  words: "", minus: "", path: "", where: "", facets: {}, favorites: false, stars: 0, collections: [], order: "path",
  like: null, view: "list", all: false, copies: false,
};
const TEXTS = ["words", "minus", "path", "where"];
const SEPARATOR = "\u001f"; // between the values of one facet, which may hold commas

export function write(state) {
  const kept = new URLSearchParams();
  for (const name of TEXTS) if (state[name]) kept.set(name, state[name]);
  for (const [name, values] of Object.entries(state.facets)) if (values.length) kept.set(`f.${name}`, values.join(SEPARATOR));
  if (state.favorites) kept.set("favorites", "1");
  if (state.stars) kept.set("stars", state.stars);
  for (const name of state.collections) kept.append("collection", name);
  if (state.order !== "path") kept.set("order", state.order);
  if (state.like) { kept.set("like", state.like.id); kept.set("name", state.like.name); }
  if (state.view !== "list") kept.set("view", state.view);
  if (state.all) kept.set("all", "1");
  if (state.copies) kept.set("copies", "1");
  return kept.size ? `#${kept}` : location.pathname;
}

export function read() {
  const kept = new URLSearchParams(location.hash.slice(1)), state = structuredClone(EMPTY);
  for (const name of TEXTS) state[name] = kept.get(name) || "";
  for (const [key, text] of kept) {
    if (/^f\.[a-z_]+$/.test(key)) state.facets[key.slice(2)] = text.split(SEPARATOR).filter(Boolean);
  }
  state.favorites = kept.has("favorites");
  state.stars = Math.min(5, Math.max(0, Number.parseInt(kept.get("stars"), 10) || 0));
  state.collections = kept.getAll("collection");
  if (["shortest", "newest"].includes(kept.get("order"))) state.order = kept.get("order");
  if (/^[0-9a-f]{16}$/.test(kept.get("like") || "")) state.like = { id: kept.get("like"), name: kept.get("name") || "a sound" };
  if (kept.get("view") === "map") state.view = "map";
  state.all = kept.has("all");
  state.copies = kept.has("copies");
  return state;
}

// Whether the state narrows the library, so that its sounds are listed without words.
export const narrows = (state) => Boolean(state.path.trim() || state.where.trim() || state.favorites || state.stars
  || state.collections.length || Object.values(state.facets).some((values) => values.length) || state.all);
