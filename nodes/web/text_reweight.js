// TextReweight shows its sentence with the weight of every word; dragging a word writes `overrides`.

import { app } from "../../scripts/app.js";
import { onOutput } from "./node_outputs.js";
import { addDisplay, callAfter, makeRoom, MARGIN_PX } from "./node_widgets.js";
import { WordWeightsView } from "./word_weights_view.js";

const WORDS = "livephoto_words";

app.registerExtension({
  name: "LivePhoto.TextReweight",
  nodeCreated(node) {
    if (node.comfyClass === "TextReweight") addView(node);
  },
});

function addView(node) {
  const overrides = node.widgets.find((widget) => widget.name === "overrides");
  const view = new WordWeightsView({
    read: () => (isLinked(node, "overrides") ? null : overrides.value),
    write(text) {
      overrides.value = text;
      overrides.callback?.(text);
      node.setDirtyCanvas(true, true);
    },
    resized: () => makeRoom(node),
  });
  forwardToCanvas(view.element);
  addDisplay(node, WORDS, view.element, { getMinHeight: () => view.height + 2 * MARGIN_PX });
  callAfter(overrides, "callback", () => view.update());
  callAfter(node, "onConfigure", () => view.update());
  callAfter(node, "onConnectionsChange", () => view.update());
  onOutput(node, WORDS, (output) => view.show(output));
}

function isLinked(node, name) {
  return node.inputs?.some((input) => input.name === name && input.link != null);
}

/** The wheel zooms and the middle button moves the canvas here too, as over the rest of the node. */
function forwardToCanvas(element) {
  const forward = (event, method) => {
    event.preventDefault();
    event.stopPropagation();
    app.canvas[method](event);
  };
  element.addEventListener("wheel", (event) => forward(event, "processMouseWheel"));
  element.addEventListener("pointerdown", (event) => {
    if (event.button === 1) forward(event, "processMouseDown");
  });
}
