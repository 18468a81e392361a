// How the words on TextReweight look. Colours come from the front end's theme; the blue is laid over
// its background thinly enough for text to stay readable on it, dark or light.

export const STYLE = `
.livephoto-words {
  color: var(--input-text);
  font: 11px/1.3 sans-serif;
  user-select: none;
}
.livephoto-words .content {
  box-sizing: border-box;
  padding: 8px;
  background: var(--comfy-input-bg);
  border: 1px solid var(--border-color);
  border-radius: 6px;
}
.livephoto-words .sentence {
  display: flex;
  flex-wrap: wrap;
  gap: 6px;
}
.livephoto-words .word {
  display: flex;
  flex-direction: column;
  align-items: center;
  padding: 2px 6px;
  border: 1px solid transparent;
  border-radius: 5px;
  background: rgb(59 130 246 / calc(var(--shade) * 60%));
  cursor: ew-resize;
  touch-action: none;
}
.livephoto-words .word[aria-readonly="true"] { cursor: default; }
.livephoto-words .word:focus-visible { outline: 2px solid currentcolor; outline-offset: 1px; }
.livephoto-words .word.set { border: 1px dashed currentcolor; }
.livephoto-words .text { font-size: 15px; }
.livephoto-words .weight { font-size: 10px; font-variant-numeric: tabular-nums; }
.livephoto-words .word.set .weight { font-weight: bold; }
.livephoto-words .largest .text {
  text-decoration: underline 2px;
  text-underline-offset: 3px;
}
.livephoto-words .frames {
  display: block;
  visibility: hidden;
  width: 100%;
  height: 32px;
  margin: 6px 0 2px;
  border-bottom: 1px solid var(--border-color);
}
.livephoto-words .frames.shown { visibility: visible; }
.livephoto-words .frames.unused { display: none; }
.livephoto-words .frames path { fill: rgb(59 130 246 / 80%); }
.livephoto-words .caption {
  padding-bottom: 2px;
  overflow: hidden;
  text-overflow: ellipsis;
  white-space: nowrap;
}
.livephoto-words .frames.unused ~ .caption { white-space: normal; }
.livephoto-words .warning { color: var(--error-text); overflow-wrap: anywhere; }
`;
