// Parts of documents that programs write: between <!-- NAME:begin --> and <!-- NAME:end -->.

/** `text` with what lies between the markers replaced. `path`: where the text is from, for the error. */
export function replaceBetweenMarkers(text, name, part, path) {
  const [begin, end] = [`<!-- ${name}:begin -->`, `<!-- ${name}:end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${path} has no ${begin} ... ${end}`);
  return `${text.slice(0, from + begin.length)}\n\n${part}\n\n${text.slice(to)}`;
}
