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

/** Codes of the languages that the front end may have been in. */
export function knownLanguages() {
  return ["en", ...Object.keys(languages)];
}

/**
 * An English text in a language, the front end's unless named, or as it is where that has none.
 * `{name}` in it stands for a value.
 */
export function translate(text, values = {}, language = presentLanguage()) {
  const known = languages[language]?.[PACK];
  return (known?.[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

function presentLanguage() {
  return app.extensionManager.setting.get("Comfy.Locale");
}
