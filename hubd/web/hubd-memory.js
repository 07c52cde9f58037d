// @ts-check
/**
 * What outlives a page load: where the client stood, which transport worked, when there was input. In `sessionStorage`,
 * so for one tab. A tab that is duplicated gets a copy and goes its own way from there: the cursor says what it has
 * had, and nobody else counts on it.
 */

export class Memory {
  /** @type {any} */ #storage;
  #name;

  /** @param {any} storage like sessionStorage; null: remember nothing @param {string} name */
  constructor(storage, name) {
    this.#storage = storage;
    this.#name = name;
  }

  /** @param {"cursor" | "transport" | "input"} what @returns {string | undefined} */
  get(what) {
    try {
      return this.#storage?.getItem(this.#key(what)) ?? undefined;
    } catch {
      return undefined; // switched off by the browser
    }
  }

  /** @param {"cursor" | "transport" | "input"} what @param {string} value */
  set(what, value) {
    try {
      this.#storage?.setItem(this.#key(what), value);
    } catch {
      // Switched off or full: then the next page begins anew.
    }
  }

  /** @param {string} what */
  #key(what) {
    return `hubd ${what} ${this.#name}`;
  }
}

/** The browser's own; even asking for it may throw. */
export function sessionStorageOf(/** @type {any} */ window) {
  try {
    return window?.sessionStorage ?? null;
  } catch {
    return null;
  }
}
