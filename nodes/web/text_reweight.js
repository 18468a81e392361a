// TextReweight shows its sentence with the weight of every word; dragging a word writes `overrides`.

import { app } from "../../scripts/app.js";
import { addDisplay, callAfter } from "./node_widgets.js";
import { WordWeightsView } from "./word_weights_view.js";

const NODE_TYPE = "TextReweight";
const WIDGET = "livephoto_words";
const WIDGET_MARGIN_PX = 10; // what the front end leaves free around a page element, on each side

app.registerExtension({
  name: "LivePhoto.TextReweight",

  nodeCreated(node) {
    if (node.comfyClass === NODE_TYPE) addView(node);
  },

  // After undo, a change of tabs or a click on an old run the nodes are new; nothing runs again.
  onNodeOutputsUpdated(outputs) {
    for (const [locator, output] of Object.entries(outputs)) {
      if (output?.livephoto_words) findNode(locator)?.onExecuted?.(output);
    }
  },
});

function addView(node) {
  const overrides = node.widgets.find((widget) => widget.name === "overrides");
  const view = new WordWeightsView({
    read: () => (isLinked(node, "overrides") ? null : overrides.value),
    write(text) {
      overrides.value = text;
      overrides.callback?.(text);
      redrawCanvas();
    },
    resized: redrawCanvas,
  });
  forwardToCanvas(view.element);
  addDisplay(node, WIDGET, view.element, { getMinHeight: () => view.height + 2 * WIDGET_MARGIN_PX });
  callAfter(overrides, "callback", () => view.update());
  callAfter(node, "onConfigure", () => view.update());
  callAfter(node, "onConnectionsChange", () => view.update());
  callAfter(node, "onExecuted", (output) => view.show(output));
}

function isLinked(node, name) {
  return node.inputs?.some((input) => input.name === name && input.link != null);
}

function redrawCanvas() {
  app.canvas?.setDirty(true, true);
}

/** The node at a locator: "<node id>", in a subgraph "<subgraph id>:<node id>". */
function findNode(locator) {
  const [id, subgraph] = locator.split(":").reverse();
  const graph = subgraph ? app.rootGraph.subgraphs.get(subgraph) : app.rootGraph;
  const node = graph?.getNodeById(id);
  return node?.comfyClass === NODE_TYPE ? node : undefined;
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
