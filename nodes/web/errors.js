// Why a run stopped, on the node that stopped it: newer front ends say it in a dialog only.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { nodeOfExecution, showText } from "./node_widgets.js";

const REASON = "livephoto_error";
const PACK = "livephoto_core"; // in the paths of all of the pack's code

let marked = null;

function unmark() {
  if (marked) showText(marked, REASON, "");
  marked = null;
}

app.registerExtension({
  name: "LivePhoto.Errors",
  setup() {
    api.addEventListener("execution_start", unmark);
    // With Apply LivePhoto it is a node of ComfyUI's that stops.
    api.addEventListener("execution_error", ({ detail }) => {
      if (!detail.traceback?.some((line) => line.includes(PACK))) return;
      unmark();
      const node = nodeOfExecution(detail.node_id);
      // In another workflow that was opened since, the id is another node's.
      if (node?.comfyClass !== detail.node_type) return;
      marked = node;
      showText(marked, REASON, detail.exception_message.trim());
    });
  },
});
