// A sentence with every word shaded by its weight, the largest underlined (LivePhoto, figure 3),
// and below it the weight of the word under the pointer in every frame.

import { translate } from "./translations.js";
import {
  canOverride,
  entriesWithoutWord,
  fold,
  readOverrides,
  roundWeight,
  writeOverride,
} from "./word_overrides.js";
import { STYLE } from "./word_weights_style.js";

const WEIGHT_PER_PX = 0.01;
const DRAG_THRESHOLD_PX = 4; // below it a press is a click
const KEY_STEP = 0.05;
const KEY_STEPS = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 };
const FIRST_HEIGHT_PX = 40;

/**
 * The page element of one node.
 *
 * `read` returns the text of `overrides`, or null where a link provides it; `write` changes it and
 * leads to `update`; `resized` is called when `height` has changed.
 */
export class WordWeightsView {
  constructor({ read, write, resized }) {
    this.read = read;
    this.write = write;
    this.height = FIRST_HEIGHT_PX;
    this.hint = translate("Run once to see the weight of every word.");
    this.words = [];
    this.predicted = [];
    this.used = [];
    this.buttons = [];
    this.pointedAt = null;
    this.createElements(resized);
    this.update();
  }

  createElements(resized) {
    this.element = create("div", "livephoto-words");
    const style = document.createElement("style");
    style.textContent = STYLE;
    const content = create("div", "content");
    this.sentence = create("div", "sentence");
    this.sentence.setAttribute("role", "group");
    this.sentence.setAttribute("aria-label", translate("Weight of every word"));
    this.frames = createChart();
    this.caption = create("div", "caption");
    this.warning = create("div", "warning");
    content.append(this.sentence, this.frames, this.caption, this.warning);
    this.element.append(style, content);
    this.watchHeight(content, resized);
  }

  /** Takes over what the node sent when it ran. */
  show(output) {
    const words = output.livephoto_words;
    const isNew = words.join("\n") !== this.words.join("\n");
    this.words = words;
    this.predicted = output.livephoto_predicted;
    this.used = output.livephoto_used;
    this.hint = words.length
      ? translate("Drag a word; double-click resets; hover for frames.")
      : translate("The words are not known here: write the sentence into text.");
    if (isNew) this.createButtons();
    this.update();
  }

  /** Shows the weights as they are with the present text of `overrides`. */
  update() {
    const text = this.read();
    const weights = this.words.map((_, index) => this.weightOf(index, text));
    const means = weights.map((weight) => weight.mean);
    const largest = Math.max(...means);
    const isMarked = largest > Math.min(...means);
    for (const [index, button] of this.buttons.entries()) {
      const { mean, isSet } = weights[index];
      button.style.setProperty("--shade", largest > 0 ? mean / largest : 0);
      button.classList.toggle("largest", isMarked && mean === largest);
      button.classList.toggle("set", isSet);
      button.lastChild.textContent = mean.toFixed(2);
      button.setAttribute("aria-valuenow", roundWeight(mean));
      const weight = mean.toFixed(2);
      const spoken = isSet ? translate("{weight}, set by hand", { weight }) : weight;
      button.setAttribute("aria-valuetext", spoken);
      button.setAttribute("aria-readonly", !this.canSet(index));
    }
    this.showWarning(text);
    this.showFrames();
  }

  /** Weights in every frame, their mean, and whether they were set by hand. */
  weightOf(index, text) {
    let frames = this.predicted[index];
    let isSet = false;
    if (text === null) {
      isSet = this.used[index].join() !== frames.join();
      frames = this.used[index];
    } else {
      const weight = readOverrides(text).get(fold(this.words[index]));
      isSet = weight !== undefined;
      if (isSet) frames = frames.map(() => weight);
    }
    return { frames, isSet, mean: frames.reduce((sum, w) => sum + w, 0) / frames.length };
  }

  canSet(index) {
    return this.read() !== null && canOverride(this.words[index]);
  }

  set(index, weight) {
    if (this.canSet(index)) this.write(writeOverride(this.read(), this.words[index], weight));
  }

  change(index, step) {
    this.set(index, this.weightOf(index, this.read()).mean + step);
  }

  createButtons() {
    this.pointedAt = null;
    this.buttons = this.words.map((word, index) => {
      const button = create("span", "word");
      button.append(create("span", "text", word), create("span", "weight"));
      button.tabIndex = 0;
      button.setAttribute("role", "spinbutton");
      button.setAttribute("aria-label", word);
      button.setAttribute("aria-valuemin", 0);
      this.listen(button, index);
      return button;
    });
    this.sentence.replaceChildren(...this.buttons);
  }

  listen(button, index) {
    for (const name of ["pointerenter", "focus"]) {
      button.addEventListener(name, () => this.pointAt(index));
    }
    button.addEventListener("pointerleave", () => this.pointAt(this.focused()));
    button.addEventListener("blur", () => this.pointAt(null));
    button.addEventListener("pointerdown", (event) => this.startDrag(event, index));
    button.addEventListener("keydown", (event) => this.press(event, index));
    button.addEventListener("dblclick", (event) => {
      event.stopPropagation();
      this.set(index, null);
    });
  }

  /** Follows the pointer until the button is released: right and up is more. */
  startDrag(event, index) {
    if (event.button !== 0 || !this.canSet(index)) return;
    event.stopPropagation();
    const button = event.currentTarget;
    const start = this.weightOf(index, this.read()).mean;
    let isDragged = false;
    const move = ({ clientX, clientY }) => {
      const [right, up] = [clientX - event.clientX, event.clientY - clientY];
      isDragged ||= Math.hypot(right, up) >= DRAG_THRESHOLD_PX;
      if (isDragged) this.set(index, start + (right + up) * WEIGHT_PER_PX);
    };
    button.setPointerCapture(event.pointerId);
    button.addEventListener("pointermove", move);
    const stop = () => button.removeEventListener("pointermove", move);
    button.addEventListener("lostpointercapture", stop, { once: true });
  }

  press(event, index) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEY_STEPS) this.change(index, KEY_STEPS[event.key] * KEY_STEP);
    else if (["Delete", "Backspace"].includes(event.key)) this.set(index, null);
    else return;
    // The front end would move or delete the node.
    event.preventDefault();
    event.stopPropagation();
  }

  focused() {
    const index = this.buttons.indexOf(document.activeElement);
    return index < 0 ? null : index;
  }

  pointAt(index) {
    this.pointedAt = index;
    this.showFrames();
  }

  showFrames() {
    const index = this.pointedAt;
    this.frames.classList.toggle("shown", index !== null);
    this.frames.classList.toggle("unused", this.words.length === 0);
    if (index === null) {
      const isLinked = this.words.length > 0 && this.read() === null;
      this.caption.textContent = isLinked
        ? translate("Weights come from the linked input.")
        : this.hint;
      return;
    }
    const { frames, mean, isSet } = this.weightOf(index, this.read());
    drawFrames(this.frames, frames);
    this.caption.textContent = describe(this.words[index], frames, mean, isSet);
  }

  showWarning(text) {
    const strangers = this.words.length && text ? entriesWithoutWord(text, this.words) : [];
    this.warning.textContent = strangers.length
      ? translate("No weight for a word of this sentence: {words}", { words: strangers.join(", ") })
      : "";
  }

  watchHeight(content, resized) {
    new ResizeObserver(() => {
      // Without a height while the front end hides the element: keep the last one.
      if (!content.offsetHeight || content.offsetHeight === this.height) return;
      this.height = content.offsetHeight;
      resized();
    }).observe(content);
  }
}

function create(tag, className, text = "") {
  const element = document.createElement(tag);
  element.className = className;
  element.textContent = text;
  return element;
}

function createChart() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "frames");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true"); // the caption says the same
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  return svg;
}

/** One step per frame, from left to right, as high as its weight. */
function drawFrames(chart, frames) {
  const top = Math.max(1, ...frames);
  const steps = frames.map((weight, frame) => `V${top - weight}H${frame + 1}`);
  chart.setAttribute("viewBox", `0 0 ${frames.length} ${top}`);
  chart.firstChild.setAttribute("d", `M0 ${top}${steps.join("")}V${top}Z`);
}

function describe(word, frames, mean, isSet) {
  if (isSet) {
    return translate("{word}: set to {weight} in all frames", { word, weight: roundWeight(mean) });
  }
  const [low, high] = [Math.min(...frames), Math.max(...frames)].map((weight) => weight.toFixed(2));
  if (low === high) return translate("{word}: {weight} in all frames", { word, weight: low });
  const values = { word, low, high, mean: mean.toFixed(2), count: frames.length };
  return translate("{word}: {low} to {high}, mean {mean}, {count} frames", values);
}
