// @ts-check
/**
 * Which transport to try, from the best down. One step down is only ever taken on trial: whether a transport is blocked
 * or the hub is just not there shows when the next one works, or doesn't.
 *
 * @typedef {import("./hubd-link.js").Transport} Transport
 * @typedef {import("./hubd-link.js").How} How
 */

const STRIKES = 2; // a handshake that fails once may be a hub that restarts

export class Ladder {
  /** @type {Transport[]} */ #rungs;
  #stand = 0; //    the rung that is known to work, or the top
  #trial = 0;
  #strikes = 0; //  how often WebSocket failed since it last worked

  /** @param {Transport[]} rungs best first @param {unknown} worked what worked earlier in this session */
  constructor(rungs, worked) {
    this.#rungs = rungs;
    const rung = rungs.indexOf(/** @type {Transport} */ (worked));
    if (rung <= 0) return;
    this.#stand = this.#trial = rung;
    this.#strikes = STRIKES;
  }

  /** What to try now, or what is in use. */
  get transport() { return this.#rungs[this.#trial]; }

  /** What would be better than that, best first. */
  get better() { return this.#rungs.slice(0, this.#trial); }

  /** @param {Transport} transport */
  works(transport) {
    this.#stand = this.#trial = this.#rungs.indexOf(transport);
    if (transport === "websocket") this.#strikes = 0;
  }

  /**
   * A try, or what was in use, is over.
   * @param {How} how
   * @returns {boolean} whether the next transport is to be tried at once
   */
  ended(how) {
    const { transport } = this;
    if (how === "refused" || how === "lost" || (how === "silent" && transport === "websocket")) {
      this.#trial = this.#stand;
      return false;
    }
    if (transport === "websocket") this.#strikes += how === "stuck" ? STRIKES : 1;
    const enough = transport !== "websocket" || this.#strikes >= STRIKES;
    if (enough && this.#trial + 1 < this.#rungs.length) {
      this.#trial++;
      return true;
    }
    // Nothing works: that says nothing of any of them. The best goes first when the hub is back.
    this.#stand = this.#trial = 0;
    return false;
  }
}
