// Small texts: times, counts, filters.

export function clock(seconds) {
  const whole = Math.round(seconds), hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

export const lasts = (seconds) => (seconds < 10 ? `${seconds.toFixed(1)} s` : seconds < 60 ? `${Math.round(seconds)} s` : clock(seconds));

export const many = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

export const list = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);

const quote = (text) => `'${text.replaceAll("'", "''")}'`;
const plain = (text) => text.replace(/[\\%_]/g, (sign) => `\\${sign}`);

// The page's fields as one filter of the library's language.
export function filterOf({ longest, path, tag, where }) {
  const parts = [];
  if (longest) parts.push(`duration <= ${longest}`);
  if (path.trim()) parts.push(`path ilike ${quote(`%${plain(path.trim())}%`)}`);
  if (tag) parts.push(`tags has ${quote(tag)}`);
  if (where.trim()) parts.push(parts.length ? `(${where.trim()})` : where.trim());
  return parts.join(" and ") || null;
}
