// Load LivePhoto: what the file carries, and which inputs matter with it.

import { app } from "../../scripts/app.js";
import { showText } from "./node_widgets.js";

const DESCRIPTION = "livephoto_description";

app.registerExtension({
  name: "LivePhoto.Loader",
  nodeCreated(node) {
    if (node.comfyClass !== "LivePhotoLoader") return;
    const { onExecuted } = node;
    node.onExecuted = function (output) {
      onExecuted?.call(this, output);
      const lines = output.livephoto_description;
      if (lines) showText(node, DESCRIPTION, lines.join("\n"));
    };
    // The words of the file before are not those of the next.
    const file = node.widgets.find(({ name }) => name === "file");
    const { callback } = file;
    file.callback = function (...values) {
      const result = callback?.apply(this, values);
      showText(node, DESCRIPTION, "");
      return result;
    };
  },
});
