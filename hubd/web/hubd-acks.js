// @ts-check
/**
 * Which notifications are to be acked, and when. An ack means that somebody saw it: so it waits until somebody is
 * there, and then it is said until the hub has confirmed it.
 *
 * @typedef {import("./hubd-page.js").Env} Env
 *
 * @typedef {object} Sayer
 * @property {() => boolean} isSeen whether somebody is at the page
 * @property {() => boolean} isConnected
 * @property {(ids: string[]) => Promise<any>} say
 */

import { Timers } from "./hubd-timers.js";

const DELAY_MS = 50; //        acks of a burst travel together: answering a replay must not look like a flood
const BATCH = 250; //          ids of 128 characters, under the hub's limit of a frame
const AGAIN_MS = 5_000; //     after the first failure; doubles
const AGAIN_MAX_MS = 60_000;
const RETRY_AFTER_MAX_S = 3_600;
const REMEMBERED = 1_000;
/** Refusals of what is said, not of the moment. */
const FINAL = new Set(["invalid", "invalid_body", "too_large", "unknown_action", "forbidden"]);

/** Forgets the oldest of a Map or Set. @param {Map<any, any> | Set<any>} entries */
export function keepNewest(entries) {
  while (entries.size > REMEMBERED) entries.delete(entries.keys().next().value);
}

export class Acks {
  #on;
  #timers;
  /** @type {Set<string>} displayed, and not said yet */ #shown = new Set();
  /** @type {Set<string>} said, but not confirmed; apart, for new ones needn't wait for those */ #failed = new Set();
  /** @type {Map<string, string>} id → `read` or `retract` */ #settled = new Map();
  #failures = 0;

  /** @param {Env} env @param {Sayer} on */
  constructor(env, on) {
    this.#on = on;
    this.#timers = new Timers(env);
  }

  /** It is displayed. @param {string} id */
  shown(id) {
    if (this.#settled.has(id)) return;
    this.#shown.add(id);
    keepNewest(this.#shown);
    if (!this.#timers.has("soon")) this.#timers.after("soon", DELAY_MS, () => this.#say());
  }

  /** Seen on another device, or taken back: there is nothing to ack. @param {any} ids @param {string} how */
  settle(ids, how) {
    if (!Array.isArray(ids)) return;
    for (const id of ids) {
      this.#shown.delete(id);
      this.#failed.delete(id);
      this.#settled.set(id, how);
    }
    keepNewest(this.#settled);
  }

  /** What was told of one that hadn't come yet. @param {string} id @returns {string | undefined} */
  settled(id) {
    return this.#settled.get(id);
  }

  /** Somebody is there, or the connection is: says all that waits. */
  flush() {
    this.#timers.cancel("again");
    this.#shown = new Set([...this.#failed, ...this.#shown]);
    this.#failed.clear();
    keepNewest(this.#shown);
    this.#say();
  }

  /** Whatever isn't seen waits for the next `flush`. */
  #say() {
    this.#timers.cancel("soon");
    if (!this.#on.isSeen() || !this.#on.isConnected() || this.#shown.size === 0) return;
    const ids = [...this.#shown].slice(0, BATCH);
    for (const id of ids) this.#shown.delete(id);
    this.#send(ids);
    if (this.#shown.size) this.#timers.after("soon", DELAY_MS, () => this.#say());
  }

  /** @param {string[]} ids */
  async #send(ids) {
    try {
      await this.#on.say(ids);
      this.#failures = 0;
    } catch (/** @type {any} */ { code, retryAfterS = 0 }) {
      if (FINAL.has(code)) return;
      // Lost on the way or not stored: the cursor is past them, so nothing but saying it again can stop the push.
      for (const id of ids) if (!this.#settled.has(id)) this.#failed.add(id);
      keepNewest(this.#failed);
      // While not connected, the next welcome does it.
      if (this.#failed.size && this.#on.isConnected() && !this.#timers.has("again")) this.#later(retryAfterS);
    }
  }

  /** @param {number} retryAfterS what the hub asked for */
  #later(retryAfterS) {
    const ms = Math.min(AGAIN_MS * 2 ** this.#failures++, AGAIN_MAX_MS);
    const askedMs = Math.min(retryAfterS, RETRY_AFTER_MAX_S) * 1000;
    this.#timers.after("again", Math.max(ms, askedMs), () => this.flush());
  }
}
