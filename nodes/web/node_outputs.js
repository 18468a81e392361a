// What the pack's nodes have sent for the front end to show: after a run, and again where a workflow
// that ran is shown again.

import { app } from "../../scripts/app.js";
import { callAfter, nodeOfLocator } from "./node_widgets.js";

const readers = new WeakMap();

/**
 * Calls an action with every output of a node that has the key. ComfyUI sends null, or leaves the
 * key out, where a node had nothing to show.
 */
export function onOutput(node, key, action) {
  const read = (output) => {
    if (output?.[key]) action(output);
  };
  readers.set(node, read);
  callAfter(node, "onExecuted", read);
}

/** Leaves out what a node sent under a key when its workflow is shown again. */
export function forgetOutput(node, key) {
  for (const [locator, output] of Object.entries(app.nodeOutputs)) {
    if (nodeOfLocator(locator) === node) delete output?.[key];
  }
}

app.registerExtension({
  name: "LivePhoto.Outputs",
  // After undo, a change of tabs or a click on an old run the nodes are new; nothing runs again.
  onNodeOutputsUpdated(outputs) {
    for (const [locator, output] of Object.entries(outputs)) {
      readers.get(nodeOfLocator(locator))?.(output);
    }
  },
});
