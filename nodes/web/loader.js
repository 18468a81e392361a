// Load LivePhoto: what the file carries, and which inputs matter with it.

import { app } from "../../scripts/app.js";
import { forgetOutput, onOutput } from "./node_outputs.js";
import { callAfter, showText } from "./node_widgets.js";

const DESCRIPTION = "livephoto_description";

app.registerExtension({
  name: "LivePhoto.Loader",
  nodeCreated(node) {
    if (node.comfyClass !== "LivePhotoLoader") return;
    onOutput(node, DESCRIPTION, ({ [DESCRIPTION]: lines }) => {
      showText(node, DESCRIPTION, lines.join("\n"));
    });
    // The words of the file before are not those of the next.
    const file = node.widgets.find(({ name }) => name === "file");
    callAfter(file, "callback", () => {
      showText(node, DESCRIPTION, "");
      forgetOutput(node, DESCRIPTION);
    });
  },
});
