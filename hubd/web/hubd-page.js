// @ts-check
/**
 * The page around the client: is it visible, is somebody at it, did the network change?
 *
 * @typedef {object} Env what the client takes from its surroundings, so that tests can stand in for all of it
 * @property {any} WebSocket
 * @property {(url: string, options: any) => Promise<any>} fetch
 * @property {any} [document]
 * @property {any} [window]
 * @property {any} [navigator]
 * @property {(run: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} now
 * @property {() => number} random
 */

const INPUT_EVENTS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"];
const REPEAT_MS = 60_000;
const ATTENTION_MS = 30 * 60_000; // a page that is visible, but without input for longer, shows nothing to anybody

/** @param {Partial<Env>} [given] @returns {Env} */
export function environment(given) {
  const { WebSocket, document, navigator } = globalThis;
  return {
    WebSocket, document, navigator,
    window: document && globalThis,
    fetch: (url, options) => globalThis.fetch(url, options),
    // Wrapped: a browser's timers refuse to be called as methods of another object.
    setTimeout: (run, ms) => setTimeout(run, ms),
    clearTimeout: (timer) => clearTimeout(timer),
    now: Date.now,
    random: Math.random,
    ...given,
  };
}

export class Page {
  /** @type {Env} */ #env;
  /** @type {{ attention: (state: string) => void, shown: () => void, network: () => void }} */ #on;
  /** @type {AbortController | undefined} */ #listening;
  #inputAt = 0;
  #reported = { state: "", at: 0 };

  /** @param {Env} env @param {{ attention: (state: string) => void, shown: () => void, network: () => void }} on */
  constructor(env, on) {
    this.#env = env;
    this.#on = on;
  }

  get visible() {
    return this.#env.document?.visibilityState !== "hidden";
  }

  watch() {
    const { document, window } = this.#env;
    if (!window || this.#listening) return;
    this.#inputAt = this.#env.now(); // whoever opened the page was there
    this.#listening = new AbortController();
    const options = { signal: this.#listening.signal, passive: true, capture: true };
    document.addEventListener("visibilitychange", () => this.#turned(), options);
    for (const name of INPUT_EVENTS) window.addEventListener(name, () => this.#input(), options);
    for (const name of ["online", "offline"]) window.addEventListener(name, () => this.#on.network(), options);
  }

  unwatch() {
    this.#listening?.abort();
    this.#listening = undefined;
  }

  /** Tells a new connection how things are. Without a page nothing is said: the hub takes that for attentive. */
  report() {
    this.#reported.state = "";
    if (this.#env.document) this.#tell();
  }

  #turned() {
    if (this.visible) this.#inputAt = this.#env.now();
    this.#tell();
    if (this.visible) this.#on.shown();
  }

  #input() {
    this.#inputAt = this.#env.now();
    this.#tell();
  }

  /** `visible` counts as input for the hub, so after a reconnect an abandoned screen must not say it. */
  #tell() {
    const at = this.#env.now();
    const state = this.visible && at - this.#inputAt < ATTENTION_MS ? "visible" : "hidden";
    if (state === this.#reported.state && at - this.#reported.at < REPEAT_MS) return;
    this.#reported = { state, at };
    this.#on.attention(state);
  }
}
