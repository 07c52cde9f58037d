// @ts-check
/** Where even streams are held back: one request after the other, and each waits at the hub for something to tell. */

import { BrokenStream } from "./hubd-link.js";
import { HttpLink } from "./hubd-http.js";

const WAIT_S = 25;
const ANSWER_MS = 10_000; // beyond the wait
const EARLY_MS = 1_000; //   an empty answer that didn't wait: whoever gave it shall not be asked in a circle
const PACE_MS = 100; //      where much is published, an answer brings several

export class PollLink extends HttpLink {
  /** @type {import("./hubd-link.js").Transport} */ transport = "poll";

  async read() {
    const reading = this.reading = new AbortController();
    const current = () => reading === this.reading && !this.over;
    this.expectWelcome(ANSWER_MS);
    try {
      // The first is answered at once: that polling works, and which topics count, is known before anything happens.
      for (let wait = 0; ; wait = WAIT_S) {
        const begun = this.env.now();
        const { url, asked } = this.where.request(this.transport, { wait });
        const response = await this.ask(url, { signal: reading.signal });
        if (!current()) return;
        if (!response.ok) return await this.turnedDown(response);
        const answer = checked(await response.json());
        if (!current()) return;
        this.heard();
        if (wait === 0) this.#begin(answer, url, asked);
        if (!current()) return;
        this.#handOver(answer, current);
        if (!current()) return;
        const leastMs = answer.notifications.length === 0 ? EARLY_MS : PACE_MS;
        if (wait > 0) await this.#rest(begun + leastMs - this.env.now());
        if (!current()) return;
      }
    } catch (error) {
      if (current()) this.end({ reason: String(error) });
    }
  }

  /** An answer doesn't say which topics were left out. Whoever may subscribe may read what a topic had. */
  async refused(/** @type {string[]} */ names) {
    for (const name of names.map(encodeURIComponent)) {
      await this.call("GET", this.where.api(`channels/${name}/history?limit=1`));
    }
    return [];
  }

  /** @param {any} answer @param {string} url @param {string[]} asked */
  #begin({ cursor, gap }, url, asked) {
    this.asked = asked;
    const from = new URL(url).searchParams.get("cursor");
    const welcome = { hub: "welcome", cursor: from ?? cursor, topics: asked };
    this.welcomed({ ...welcome, ...(from !== null && { recovered: gap === null }) }, WAIT_S * 1000 + ANSWER_MS);
  }

  /** @param {number} ms @returns {Promise<void>} */
  async #rest(ms) {
    if (ms > 0) await new Promise((resolve) => { this.timers.after("rest", ms, () => resolve(undefined)); });
  }

  /** @param {any} answer @param {() => boolean} current */
  #handOver({ cursor, notifications, gap }, current) {
    if (gap) this.on.frame({ hub: "gap", channel: gap.channel, reason: gap.reason });
    for (const notification of notifications) if (current()) this.on.frame(notification);
    if (current()) this.on.frame({ hub: "ping", cursor });
  }
}

/** @param {any} answer */
function checked(answer) {
  if (typeof answer?.cursor === "string" && Array.isArray(answer.notifications)) return answer;
  throw new BrokenStream("what answered is no poll");
}
