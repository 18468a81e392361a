// Motion Intensity: what was measured, beside what was asked, here and on the node that was asked.

import { app } from "../../scripts/app.js";
import { callAfter, findNode, showText } from "./node_widgets.js";
import { translate } from "./translations.js";

export const MEASURED = "livephoto_measured";

function showMeasured(node, { level, ssim, asked }) {
  const text = asked
    ? translate("asked {asked}, measured {level}", { asked: asked.motion_intensity, level })
    : translate("measured {level}", { level });
  showText(node, MEASURED, `${text} (SSIM ${ssim.toFixed(4)})`);
  const sampler = asked && findNode(asked.node);
  if (sampler) showText(sampler, MEASURED, text);
}

app.registerExtension({
  name: "LivePhoto.MotionIntensity",
  nodeCreated(node) {
    if (node.comfyClass !== "MotionIntensity") return;
    callAfter(node, "onExecuted", ({ livephoto_measured: [measured] = [] }) => {
      if (measured) showMeasured(node, measured);
    });
  },
});
