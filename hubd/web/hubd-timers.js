// @ts-check
/**
 * Timers by name: setting one again puts it off, and all of them go at once.
 *
 * @typedef {import("./hubd-page.js").Env} Env
 */

export class Timers {
  /** @type {Env} */ #env;
  /** @type {Map<string, any>} */ #waiting = new Map();

  /** @param {Env} env */
  constructor(env) {
    this.#env = env;
  }

  /** @param {string} name @param {number} ms @param {() => void} run */
  after(name, ms, run) {
    this.cancel(name);
    this.#waiting.set(name, this.#env.setTimeout(() => { this.#waiting.delete(name); run(); }, ms));
  }

  /** @param {string} name */
  cancel(name) {
    this.#env.clearTimeout(this.#waiting.get(name));
    this.#waiting.delete(name);
  }

  /** @param {string} name */
  has(name) {
    return this.#waiting.has(name);
  }

  clear() {
    for (const name of this.#waiting.keys()) this.cancel(name);
  }
}
