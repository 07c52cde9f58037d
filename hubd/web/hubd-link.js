// @ts-check
/**
 * One life over one transport: asked for, up, gone, never used again. What WebSocket, SSE and long-poll have in common.
 * Whatever the transport, both directions are the frames of hubd.v1; a link without frames on its wire makes them up.
 *
 * @typedef {import("./hubd-page.js").Env} Env
 * @typedef {"websocket" | "sse" | "poll"} Transport
 * @typedef {Record<string, any>} Frame
 *
 * @typedef {object} End why it is over
 * @property {How} [how] what it says of the transport; else by whether it was up
 * @property {number} [code] a close code, or the status of a refused request
 * @property {string} [reason]
 * @property {boolean} [reconnect] false: the hub wants us no more
 * @property {number} [retry_after_s] stay away at least so long
 *
 * failed: it ended before its welcome. stuck: nothing came through. refused: the hub itself said no, or nobody was
 * asked yet, so the transport isn't to blame. silent: it was up, and then not even a heartbeat came. lost: it was up.
 * @typedef {"failed" | "stuck" | "refused" | "silent" | "lost"} How
 *
 * @typedef {object} LinkOwner
 * @property {(frame: Frame) => void} frame the first is a `welcome`; more of those when the link was opened anew inside
 * @property {(end: End) => void} end once, and nothing after
 * @property {(code: string, message: string) => void} problem
 *
 * @typedef {object} Request what to ask the hub for
 * @property {string} url
 * @property {string[]} asked the topics in it
 *
 * @typedef {object} Where
 * @property {(transport: Transport, more?: { topics?: string[], cursor?: string, wait?: number }) => Request} request
 * @property {(path: string) => string} api
 *
 * @typedef {object} LinkParts
 * @property {Env} env
 * @property {Where} where
 * @property {() => Promise<string | undefined>} token a fresh one
 * @property {boolean} renewable asking for another token makes sense
 * @property {LinkOwner} on
 */

import { Timers } from "./hubd-timers.js";

const TOKEN_MS = 15_000;
const LATE_MS = 5_000; // a timer that is later slept with the machine, or in a background tab

/** What came is no frame, and the rest of it can't be understood either. */
export class BrokenStream extends Error {}

export class Link {
  /** @type {Transport} */ transport = "websocket";
  /** @type {LinkOwner} whoever hears of it: another one once it was found good */ on;
  /** @type {string[]} the topics that its address asked for */ asked = [];
  /** the hub's `retry:`, the least to wait before the next one */ retryMs = 0;
  /** it has been welcomed */ up = false;
  over = false;
  #silenceMs = Infinity;
  #heardAt = 0;

  /** @param {LinkParts} parts */
  constructor({ env, where, token, renewable, on }) {
    this.env = env;
    this.where = where;
    this.freshToken = token;
    this.renewable = renewable;
    this.on = on;
    this.timers = new Timers(env);
  }

  /** The token first: the hub gives an open connection only a few seconds to show one. */
  async start() {
    this.timers.after("open", TOKEN_MS, () => this.end({ how: "refused", reason: "no token in time" }));
    let token;
    try {
      token = await this.freshToken();
    } catch (error) {
      return this.fail(error, "refused");
    }
    if (this.over) return;
    try {
      this.open(token);
    } catch (error) {
      this.fail(error, "failed");
    }
  }

  /** @param {string | undefined} _token */
  open(_token) {}

  /** An action; its reply comes as a frame, if it has a `ref`. @param {Frame} _frame */
  send(_frame) {}

  /** The network may have changed: find out whether this still works, and end if not. */
  check() {}

  /** Leaves, without a word to its owner. */
  close() {
    this.over = true;
    this.timers.clear();
    this.hangUp();
  }

  hangUp() {}

  /** @param {End} end */
  end(end) {
    if (this.over) return;
    this.close();
    this.on.end({ how: this.up ? "lost" : "failed", ...end });
  }

  /** @param {unknown} error @param {How} how */
  fail(error, how) {
    if (this.over) return;
    this.on.problem("not_connected", String(error));
    this.end({ how, reason: "no token, or no socket" });
  }

  /** Gives up if there is no welcome in time. @param {number} ms */
  expectWelcome(ms) {
    this.timers.after("open", ms, () => this.end({ how: "stuck", reason: "no welcome in time" }));
  }

  /** @param {Frame} frame @param {number} silenceMs how long it may say nothing */
  welcomed(frame, silenceMs) {
    this.up = true;
    this.timers.cancel("open");
    this.#silenceMs = silenceMs;
    this.heard();
    if (silenceMs < Infinity) this.#watchSilence();
    this.on.frame(frame);
  }

  heard() {
    this.#heardAt = this.env.now();
  }

  /** After a sleep the timers are late: look at the clock instead. */
  checkSilence() {
    if (this.timers.has("silence")) this.#watchSilence();
  }

  #watchSilence() {
    const left = this.#silenceMs - (this.env.now() - this.#heardAt);
    if (left > 0) return this.timers.after("silence", Math.min(left, this.#silenceMs), () => this.#watchSilence());
    this.end({ how: left > -LATE_MS ? "silent" : "lost", reason: "the hub went silent" });
  }

  /** One text of JSON, as a frame; anything else is a problem. @param {string} text @returns {Frame | undefined} */
  parse(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      frame = null;
    }
    if (frame !== null && typeof frame === "object") return frame;
    this.on.problem("bad_frame", "received what is no frame");
  }
}
