// The text of TextReweight's `overrides` input, such as "waving:1.5, dinosaur:0.2".
//
// Reads what `parse_overrides` in livephoto_core/comfyui/text.py reads and writes nothing else, so
// that a weight set on the node and one typed into the input are the same thing.

const NUMBER = /^\+?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** A word's spelling without upper and lower case, near enough to Python's casefold. */
export function fold(word) {
  return word.toUpperCase().toLowerCase();
}

/** Whether the input can name a word: commas end its entries. */
export function canOverride(word) {
  return !word.includes(",");
}

/** A weight as it is written: at most two decimals, never negative. */
export function roundWeight(weight) {
  return Math.max(0, Math.round(weight * 100) / 100);
}

/** Folded word → weight; where a word is named twice, the last counts. */
export function readOverrides(text) {
  return new Map(
    entries(text)
      .filter((entry) => entry.word !== null)
      .map((entry) => [entry.word, entry.weight]),
  );
}

/** The entries that set none of the words, as they were typed: the node will refuse them. */
export function entriesWithoutWord(text, words) {
  const folded = new Set(words.map(fold));
  return entries(text)
    .filter((entry) => !folded.has(entry.word))
    .map((entry) => entry.typed);
}

/** The text with a word's weight set, in place where it was, or taken out where it is null. */
export function writeOverride(text, word, weight) {
  const written = weight === null ? [] : [`${word}:${roundWeight(weight)}`];
  const all = entries(text);
  const isOther = (entry) => entry.word !== fold(word);
  const place = all.findIndex((entry) => !isOther(entry));
  const before = place < 0 ? all : all.slice(0, place);
  const after = all.slice(before.length).filter(isOther);
  const typed = (part) => part.map((entry) => entry.typed);
  return [...typed(before), ...written, ...typed(after)].join(", ");
}

function entries(text) {
  return text
    .split(/[,\n]/)
    .map((part) => part.trim())
    .filter(Boolean)
    .map(readEntry);
}

function readEntry(typed) {
  const colon = typed.lastIndexOf(":");
  const word = typed.slice(0, Math.max(colon, 0)).trim();
  const weight = typed.slice(colon + 1).trim();
  const isReadable = word !== "" && NUMBER.test(weight);
  return { typed, word: isReadable ? fold(word) : null, weight: Number(weight) };
}
