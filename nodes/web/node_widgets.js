// Nodes by the ids in use for them, and widgets below a node's own: these show something, and
// neither a workflow nor a prompt holds them.

import { app } from "../../scripts/app.js";

/** What the front end leaves free around a page element, on each side. */
export const MARGIN_PX = 10;

/** The node with an id as the server uses it; "5:7" is node 7 in the subgraph of node 5. */
export function nodeOfExecution(executionId) {
  const path = String(executionId).split(":");
  const last = path.pop();
  const graph = path.reduce((outer, id) => outer?.getNodeById(id)?.subgraph, app.rootGraph);
  return graph?.getNodeById(last);
}

/** The node at a locator: "<node id>", in a subgraph "<subgraph id>:<node id>". */
export function nodeOfLocator(locator) {
  const [id, subgraph] = locator.split(":").reverse();
  const graph = subgraph ? app.rootGraph.subgraphs.get(subgraph) : app.rootGraph;
  return graph?.getNodeById(id);
}

/** Whether a node is in the workflow that is open; a node of a closed one is told nothing. */
export function isOpen(node) {
  const { graph } = node;
  const isReached = graph === app.rootGraph || app.rootGraph.subgraphs.get(graph?.id) === graph;
  return isReached && graph.getNodeById(node.id) === node;
}

/**
 * Calls an action, with the same arguments, whenever a method of a node or widget has run.
 */
export function callAfter(target, name, action) {
  const original = target[name];
  target[name] = function (...values) {
    const result = original?.apply(this, values);
    action(...values);
    return result;
  };
}

/**
 * Adds a widget that shows an element, as the last one: the front end counts widgets that are not
 * saved when it writes a workflow, and not when it reads one; among the others it would shift their
 * values.
 */
export function addDisplay(node, name, element, layout) {
  const options = { serialize: false, hideOnZoom: false, margin: MARGIN_PX, ...layout };
  const widget = node.addDOMWidget(name, name, element, options);
  widget.serialize = false;
  makeRoom(node);
  return widget;
}

/**
 * Lets a node grow to what its widgets need. By itself it does so while it is drawn, and is seen
 * grown when something else has it drawn again.
 */
export function makeRoom(node) {
  node.setSize([node.size[0], Math.max(node.size[1], node.computeSize()[1])]);
  node.setDirtyCanvas(true, true);
}

/**
 * Shows a text on a node, one line below the other. An empty text takes it away.
 */
export function showText(node, name, text) {
  const shown = node.widgets?.find((widget) => widget.name === name);
  if (!text) {
    if (shown) node.removeWidget(shown);
  } else {
    const widget = shown ?? addText(node, name);
    widget.element.firstChild.textContent = text;
  }
  node.setDirtyCanvas(true, true);
}

function addText(node, name) {
  const words = document.createElement("div");
  Object.assign(words.style, {
    padding: "4px 8px",
    border: "1px solid var(--border-color)",
    borderRadius: "4px",
    background: "var(--comfy-input-bg)",
    color: "var(--input-text)",
    fontSize: "11px",
    lineHeight: "15px",
    whiteSpace: "pre-line",
    overflowWrap: "anywhere",
  });
  const frame = document.createElement("div");
  frame.append(words);
  // While the element is hidden it has no height; the last one it had is kept.
  let heightPx = 24;
  const measure = () => (heightPx = words.offsetHeight || heightPx) + 2 * MARGIN_PX;
  const widget = addDisplay(node, name, frame, { getMinHeight: measure, getMaxHeight: measure });
  // The height depends on where the words break, known only when the front end has laid them out.
  new ResizeObserver(() => makeRoom(node)).observe(words);
  return widget;
}
