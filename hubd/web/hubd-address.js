// @ts-check
/**
 * Where the hub is, and what a connection's address has in it.
 *
 * @typedef {import("./hubd-link.js").Transport} Transport
 * @typedef {import("./hubd-link.js").Request} Request
 */

/** Characters of topics; there are limits on a request line all along the way. By WebSocket the rest can follow. */
const TOPICS_MAX = { websocket: 3_000, sse: 6_000, poll: 6_000 };

/** A user's own channel and the broadcast channel are joined without asking. @param {string} name */
export const isTopic = (name) => name !== "notifications" && !name.startsWith("user:");

export class Address {
  /** @type {URL} */ #base;
  /** @type {string | undefined} */ #user;

  /** @param {{ url?: string, user?: string }} options */
  constructor({ url = "/notifications", user }) {
    this.#base = new URL(url, globalThis.location?.href);
    this.#base.protocol = this.#base.protocol.replace("ws", "http");
    this.#user = user;
  }

  /** What tells it from others, for what is kept: hub and, where it is known before connecting, user. */
  get name() {
    return `${this.#base.href} ${this.#user ?? ""}`;
  }

  /**
   * @param {Transport} transport
   * @param {{ topics: string[], cursor?: string, wait?: number }} wanted
   * @returns {Request}
   */
  request(transport, { topics, cursor, wait }) {
    const url = this.#withUser(this.#base);
    if (transport === "websocket") url.protocol = url.protocol.replace("http", "ws");
    else url.searchParams.set("acks", "1");
    if (cursor !== undefined) url.searchParams.set("cursor", cursor);
    // A proxy that drops the Upgrade makes a poll of a handshake; that shall fail at once, not when its waiting is over.
    const waiting = transport === "websocket" && cursor !== undefined ? 0 : wait;
    if (waiting !== undefined) url.searchParams.set("wait", String(waiting));
    let room = TOPICS_MAX[transport];
    const asked = topics.filter((topic) => (room -= encodeURIComponent(topic).length + 3) >= 0);
    if (asked.length) url.searchParams.set("topics", asked.join(","));
    return { url: url.href, asked };
  }

  /** A call of the API, which lies beside. @param {string} path */
  api(path) {
    const url = new URL(`api/${path}`, this.#base);
    for (const [name, value] of this.#base.searchParams) url.searchParams.set(name, value);
    return this.#withUser(url).href;
  }

  /** @param {URL} base */
  #withUser(base) {
    const url = new URL(base);
    if (this.#user !== undefined) url.searchParams.set("user", this.#user);
    return url;
  }
}
