// @ts-check
/**
 * The way back up: while a lesser transport is in use, better ones are tried beside it, ever less often. The old one
 * goes on until the new one is welcome, so that a try that fails costs nothing.
 *
 * @typedef {import("./hubd-page.js").Env} Env
 * @typedef {import("./hubd-link.js").Transport} Transport
 * @typedef {import("./hubd-link.js").Link} Link
 * @typedef {import("./hubd-link.js").LinkOwner} LinkOwner
 * @typedef {import("./hubd-link.js").Frame} Frame
 */

import { Timers } from "./hubd-timers.js";

const AGAIN_MS = 5_000; //  the least between two tries, however often the page is turned to
// What comes by both is recognised by its id, and what a ring pushes out meanwhile would be told as a gap: where so
// much comes during a try, it isn't the moment.
const OVERLAP_MAX = 50;

export class Climb {
  #env;
  #firstMs;
  #maxMs;
  #open;
  #adopt;
  #timers;
  /** @type {Transport[]} */ #better = [];
  /** @type {Link | null} the better one that is being tried */ #link = null;
  #ms = 0;
  #triedAt = -Infinity;
  #overlap = 0;
  #orderedMs = 0; //  the hub asked to stay away for so long

  /**
   * @param {{ env: Env, firstMs: number, maxMs: number, open: (transport: Transport, on: LinkOwner) => Link,
   *   adopt: (link: Link, welcome: Frame) => void }} parts
   */
  constructor({ env, firstMs, maxMs, open, adopt }) {
    this.#env = env;
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
    this.#open = open;
    this.#adopt = adopt;
    this.#timers = new Timers(env);
  }

  /** @param {Transport[]} better than what is in use, best first */
  begin(better) {
    this.stop();
    this.#better = better;
    this.#ms = this.#firstMs;
    this.#wait();
  }

  stop() {
    this.#better = [];
    this.#timers.clear();
    this.#giveUp();
  }

  /** Something changed for the better: the network is back, or somebody looks at the page. */
  now() {
    const soonMs = Math.min(AGAIN_MS, this.#firstMs);
    if (!this.#timers.has("climb") || this.#orderedMs > 0 || this.#env.now() - this.#triedAt < soonMs) return;
    this.#ms = this.#firstMs;
    this.#try(0);
  }

  /** A notification came by what is in use. */
  arrived() {
    if (this.#link && ++this.#overlap > OVERLAP_MAX) this.#postpone();
  }

  /** The address that is being tried is no longer the right one. */
  outdated() {
    if (this.#link) this.#postpone();
  }

  #postpone() {
    this.#giveUp();
    this.#wait();
  }

  #giveUp() {
    const link = this.#link;
    this.#link = null;
    link?.close();
  }

  #wait() {
    if (this.#better.length === 0) return;
    const jittered = this.#ms * (0.5 + this.#env.random() / 2);
    this.#ms = Math.min(this.#ms * 2, this.#maxMs);
    this.#timers.after("climb", Math.max(jittered, this.#orderedMs), () => this.#try(0));
  }

  /** @param {number} rung */
  #try(rung) {
    this.#timers.clear();
    if (rung === 0) this.#orderedMs = 0;
    if (rung >= this.#better.length) return this.#wait();
    this.#triedAt = this.#env.now();
    this.#overlap = 0;
    const link = this.#open(this.#better[rung], {
      frame: (frame) => {
        if (link !== this.#link || frame.hub !== "welcome") return;
        this.#link = null;
        this.#adopt(link, frame);
      },
      end: ({ retry_after_s: order = 0 }) => {
        if (link !== this.#link) return;
        this.#link = null;
        this.#orderedMs = Math.max(this.#orderedMs, order * 1000);
        this.#try(rung + 1);
      },
      problem: () => {}, // what is in use works
    });
    this.#link = link;
    link.start();
  }
}
