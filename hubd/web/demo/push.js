// @ts-check
/** The switch by which this browser is notified while no page is open, or why it can't be. */

import { part } from "./dom.js";

/** What is said of each state, and whether the switch can be turned. @type {Record<string, [string, boolean]>} */
const STATES = {
  off: ["Your browser will ask whether it may.", true],
  on: ["Close this page, have somebody write to you, and your browser shows it.", true],
  other_user: ["Somebody else turned this on here, and is notified. Turn it on to be notified instead.", true],
  denied: ["Your browser blocks notifications from this page; its settings for this site can allow them.", false],
  unsupported: ["This browser can't: it needs https or localhost, and on a phone the page on the home screen.", false],
  not_on_this_hub: ["This hub can't: [plugins.webpush] is off. docs/push.md says how to turn it on.", false],
};

export class PushSwitch {
  /** @type {import("../hubd.js").Hubd | undefined} */ #hub;
  #switch = part("push-switch");
  #note = part("push-note");

  constructor() {
    this.#switch.addEventListener("change", () => this.#turn(this.#switch.checked));
  }

  /** @param {import("../hubd.js").Hubd} hub */
  use(hub) {
    this.#hub = hub;
    for (const type of ["push", "welcome"]) hub.addEventListener(type, () => this.#draw());
    this.#draw();
  }

  /** @param {boolean} on */
  async #turn(on) {
    const hub = this.#hub;
    if (!hub) return;
    this.#switch.disabled = true;
    this.#note.textContent = on ? "One moment …" : "";
    let trouble = "";
    try {
      await (on ? hub.push.enable() : hub.push.disable());
    } catch (error) {
      trouble = `That didn't work: ${/** @type {Error} */ (error).message}.`;
    }
    this.#draw(trouble);
  }

  /** @param {string} [trouble] */
  #draw(trouble = "") {
    const { state } = /** @type {import("../hubd.js").Hubd} */ (this.#hub).push;
    const [note, canBeTurned] = STATES[state];
    this.#switch.checked = state === "on";
    this.#switch.disabled = !canBeTurned;
    this.#note.textContent = trouble || note;
    this.#note.classList.toggle("wrong", Boolean(trouble));
    this.#switch.dataset.state = state;
  }
}
