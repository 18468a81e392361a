// Motion Intensity: what was measured, beside what was asked, here and on the node that was asked.

import { app } from "../../scripts/app.js";
import { onOutput } from "./node_outputs.js";
import { nodeOfExecution, showText } from "./node_widgets.js";
import { translate } from "./translations.js";

export const MEASURED = "livephoto_measured";

function describe({ level, asked, scale }) {
  if (!asked) return translate("measured {level}", { level });
  const values = { asked: asked.motion_intensity, level };
  return scale === "general"
    ? translate("asked {asked}, measured {level} on the general scale", values)
    : translate("asked {asked}, measured {level}", values);
}

function showMeasured(node, measured) {
  const text = describe(measured);
  showText(node, MEASURED, `${text} (SSIM ${measured.ssim.toFixed(4)})`);
  const sampler = measured.asked && nodeOfExecution(measured.asked.node);
  if (sampler) showText(sampler, MEASURED, text);
}

app.registerExtension({
  name: "LivePhoto.MotionIntensity",
  nodeCreated(node) {
    if (node.comfyClass !== "MotionIntensity") return;
    onOutput(node, MEASURED, ({ [MEASURED]: [measured] }) => {
      showMeasured(node, JSON.parse(measured));
    });
  },
});
