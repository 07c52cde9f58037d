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

import { Timers } from "./hubd-timers.js";

const INPUT_EVENTS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart", "focus"];
const REPEAT_MS = 60_000;
const ATTENTION_MS = 30 * 60_000; // unless the hub says otherwise
const TIMER_MAX_MS = 3_600_000; //   a timer of more than 24 days would fire at once

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

/**
 * A page is seen while it is visible and the last input isn't too long ago: an always-open screen in another room
 * displays what comes, but nobody sees it.
 */
export class Page {
  /** @type {Env} */ #env;
  /** @type {{ attention: (state: string) => void, shown: () => void, network: () => void }} */ #on;
  #memory;
  #timers;
  /** @type {AbortController | undefined} */ #listening;
  #attentionMs = ATTENTION_MS;
  /** @type {number | undefined} */ #inputAt;
  #pointer = "";
  #reported = { state: "", at: 0 };

  /**
   * @param {Env} env @param {import("./hubd-memory.js").Memory} memory
   * @param {{ attention: (state: string) => void, shown: () => void, network: () => void }} on
   */
  constructor(env, memory, on) {
    this.#env = env;
    this.#memory = memory;
    this.#timers = new Timers(env);
    this.#on = on;
  }

  get visible() {
    return this.#env.document?.visibilityState !== "hidden";
  }

  /** Somebody sees what it displays. Where there is no page, whoever takes a notification has seen it. */
  get isSeen() {
    return this.visible && (!this.#env.window || this.#leftMs > 0);
  }

  /** For how long it still counts as seen. A clock that was set back doesn't make it much longer. */
  get #leftMs() {
    return this.#attentionMs - Math.abs(this.#env.now() - (this.#inputAt ?? 0));
  }

  watch() {
    const { document, window, navigator } = this.#env;
    if (!window || this.#listening) return;
    // Whoever opened the page was there. One that is loaded again and again by itself doesn't show that anybody is.
    this.#inputAt ??= Number(this.#memory.get("input")) || this.#env.now();
    if (navigator?.userActivation?.isActive) this.#inputAt = this.#env.now();
    this.#listening = new AbortController();
    const options = { signal: this.#listening.signal, passive: true, capture: true };
    document.addEventListener("visibilitychange", () => this.#turned(), options);
    const input = (/** @type {any} */ event) => this.#input(event);
    for (const name of INPUT_EVENTS) window.addEventListener(name, input, options);
    for (const name of ["online", "offline"]) window.addEventListener(name, () => this.#on.network(), options);
  }

  unwatch() {
    this.#listening?.abort();
    this.#listening = undefined;
    this.#timers.clear();
  }

  /**
   * Tells a new connection how things are. Without a page nothing is said: the hub takes that for attentive.
   * @param {number} [attentionS] for how long after an input a page counts as seen, if the hub says so
   */
  report(attentionS = 0) {
    if (attentionS > 0) this.#attentionMs = attentionS * 1000;
    this.#reported.state = "";
    if (this.#env.document) this.#tell();
    this.#watchAttention();
  }

  #turned() {
    if (this.visible) this.#came();
    else this.#tell();
  }

  /** @param {any} event */
  #input({ type, target, screenX, screenY }) {
    if (type === "focus" && target !== this.#env.window) return; // an element's: scripts do that
    // Browsers make up moves of a pointer that lies still while the page changes under it.
    const pointer = `${screenX} ${screenY}`;
    if (type === "pointermove" && pointer === this.#pointer) return;
    if (screenX !== undefined) this.#pointer = pointer;
    if (!this.isSeen) return this.#came();
    this.#inputAt = this.#env.now();
    this.#tell();
  }

  /** Somebody is there again. */
  #came() {
    this.#inputAt = this.#env.now();
    this.#tell();
    this.#watchAttention();
    if (this.isSeen) this.#on.shown();
  }

  /** The hub counts from what it was told last; after a reconnect that is later than the last input. */
  #watchAttention() {
    if (!this.#listening) return;
    if (!this.isSeen) return this.#tell();
    this.#timers.after("attention", Math.min(this.#leftMs, TIMER_MAX_MS), () => this.#watchAttention());
  }

  /** `visible` counts as input for the hub, so after a reconnect an abandoned screen must not say it. */
  #tell() {
    const at = this.#env.now();
    const state = this.isSeen ? "visible" : "hidden";
    const repeatMs = Math.min(REPEAT_MS, this.#attentionMs / 2);
    if (state === this.#reported.state && Math.abs(at - this.#reported.at) < repeatMs) return;
    if (state === "visible") this.#memory.set("input", String(this.#inputAt));
    this.#reported = { state, at };
    this.#on.attention(state);
  }
}
