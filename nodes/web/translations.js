// What the pack's extension writes on nodes, in the front end's language: locales/<language>/main.json,
// which ComfyUI serves with those of all packs.

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

const PACK = "livePhoto";

let languages = {};

app.registerExtension({
  name: "LivePhoto.Translations",
  // Before any node is made.
  async init() {
    const response = await api.fetchApi("/i18n");
    if (response.ok) languages = await response.json();
  },
});

/**
 * An English text in the front end's language, or as it is where that has none. `{name}` in it
 * stands for a value.
 */
export function translate(text, values = {}) {
  const known = languages[app.extensionManager.setting.get("Comfy.Locale")]?.[PACK];
  return (known?.[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
