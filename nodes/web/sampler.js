// LivePhoto Sampler and Apply LivePhoto: words for the intensity, and a loop of the video to be.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { FrameLoop } from "./loop.js";
import { MEASURED } from "./motion_intensity.js";
import {
  addDisplay,
  callAfter,
  isOpen,
  MARGIN_PX,
  nodeOfExecution,
  showText,
} from "./node_widgets.js";
import { knownLanguages, translate } from "./translations.js";

const SAMPLERS = ["LivePhotoSampler", "ApplyLivePhoto"];
const LOOP = "livephoto_preview";

// Each word up to, and without, a value of motion_intensity.
const words = (language) => [
  [2, translate("still", {}, language)],
  [4, translate("calm", {}, language)],
  [6.5, translate("lively", {}, language)],
  [9, translate("strong", {}, language)],
  [Infinity, translate("wild", {}, language)],
];

const loops = new WeakMap();

function wordOf(intensity) {
  return words().find(([end]) => intensity < end)[1];
}

// A label may come with a workflow from a front end in another language.
function withoutWord(label) {
  const all = knownLanguages().flatMap(words);
  const word = all.find(([, word]) => label.startsWith(`${word} · `))?.[1];
  return word ? label.slice(`${word} · `.length) : label;
}

/**
 * Keeps the word in the slider's label, which both renderers draw beside the number, and of which
 * Vue nodes cut off the end. It is saved only where the user gave the slider a name, and shifts no
 * values as a widget would. A slider whose value comes from elsewhere has no word: a subgraph shows
 * the label of the one inside beside its own value.
 */
function nameIntensity(node) {
  const slider = node.widgets?.find((widget) => widget.name === "motion_intensity");
  if (!slider) return;
  const show = () => {
    // The name as it is now: it may be translated, or the user's own.
    const name = withoutWord(slider.label ?? slider.name);
    const input = node.inputs?.find(({ widget }) => widget?.name === slider.name);
    slider.label = input?.link == null ? `${wordOf(slider.value)} · ${name}` : name;
  };
  callAfter(slider, "callback", show);
  callAfter(node, "onConfigure", show);
  callAfter(node, "onConnectionsChange", show);
  show();
}

function loopOf(node) {
  if (!loops.has(node)) {
    // Nodes in subgraphs are not told when another workflow takes their place.
    const loop = new FrameLoop(() => isOpen(node));
    addDisplay(node, LOOP, loop.canvas, { getMinHeight: () => 180 + 2 * MARGIN_PX });
    callAfter(node, "onRemoved", () => {
      loop.stop();
      loops.delete(node);
    });
    loops.set(node, loop);
  }
  return loops.get(node);
}

app.registerExtension({
  name: "LivePhoto.Sampler",
  setup() {
    api.addEventListener("livephoto.preview", ({ detail }) => {
      const node = nodeOfExecution(detail.node);
      if (SAMPLERS.includes(node?.comfyClass)) loopOf(node).play(detail);
    });
    // What was measured is of the video before.
    api.addEventListener("executing", ({ detail }) => {
      const node = detail && nodeOfExecution(detail);
      if (SAMPLERS.includes(node?.comfyClass)) showText(node, MEASURED, "");
    });
  },
  nodeCreated(node) {
    if (SAMPLERS.includes(node.comfyClass)) nameIntensity(node);
  },
});
