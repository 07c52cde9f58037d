// @ts-check
/**
 * What SSE and long-poll share: requests as this user, the hub's refusals, and actions, which go by requests of their
 * own and come back as `reply` frames. The token travels in a header only: addresses end up in logs.
 *
 * @typedef {import("./hubd-link.js").Frame} Frame
 * @typedef {import("./hubd-link.js").End} End
 * @typedef {{ method?: string, accept?: string, body?: any, signal: AbortSignal }} Asking
 */

import { isTopic } from "./hubd-address.js";
import { Link } from "./hubd-link.js";

const ANSWER_MS = 9_000; //  of a request that isn't meant to wait; an action has a second more
const GATHER_MS = 10; //     topics that are asked for one after the other join in one new stream or poll
const REPLAY_ROUNDS = 100;
const FINAL = new Set([401, 403]);
const LATER = new Set([429, 503]);

/** An action that was not done; what the reply frame tells of it. */
class Undone extends Error {
  /** @param {string} code @param {string} message @param {number} [retryAfterS] */
  constructor(code, message, retryAfterS) {
    super(message);
    this.reply = { ok: false, error: { code, message, retry_after_s: retryAfterS } };
  }
}

export class HttpLink extends Link {
  /** @type {string | undefined} its id, for what is said by other requests */ connection;
  /** @type {string[]} the topics that it has */ granted = [];
  /** @type {AbortController | undefined} of the stream or poll */ reading;
  /** @type {string | undefined} */ #token;
  /** @type {Set<AbortController>} */ #calls = new Set();
  /** @type {(() => void)[]} who waits for a stream or poll that is yet to be begun */ #wanting = [];
  /** @type {(() => void)[]} who waits for the one that was begun */ #waiting = [];
  /** @type {Promise<any>} */ #visibility = Promise.resolve();

  /** @param {string | undefined} token */
  open(token) {
    this.#token = token;
    this.read();
  }

  /** Begins the stream or the poll; again and again, when something changed. */
  async read() {}

  /** Topics that may not be had, of those that it asked for. @param {string[]} names @returns {Promise<string[]>} */
  async refused(names) {
    return names.filter((name) => !this.granted.includes(name));
  }

  hangUp() {
    this.reading?.abort();
    for (const call of this.#calls) call.abort();
  }

  check() {
    this.reread();
  }

  /** Begins anew from the cursor, in place: nothing is lost, and nothing comes twice. */
  reread() {
    if (this.over) return;
    this.reading?.abort();
    this.connection = undefined;
    this.#waiting.push(...this.#wanting.splice(0));
    this.timers.cancel("reread");
    this.timers.cancel("silence");
    this.read();
  }

  /** @param {Frame} welcome @param {number} silenceMs */
  welcomed(welcome, silenceMs) {
    this.connection = welcome.connection;
    this.granted = welcome.topics;
    super.welcomed(welcome, silenceMs);
    for (const done of this.#waiting.splice(0)) done();
  }

  // ---- requests -----------------------------------------------------------------------------------------------------

  /**
   * One request as this user; where the token isn't taken, once more with a fresh one.
   * @param {string} url @param {Asking} asking
   */
  async ask(url, { method, accept = "application/json", body, signal }) {
    for (let renewed = false; ; renewed = true) {
      const headers = {
        Accept: accept,
        ...(this.#token !== undefined && { Authorization: `Bearer ${this.#token}` }),
        ...(body !== undefined && { "Content-Type": "application/json" }),
      };
      const answer = await this.env.fetch(url, {
        method, headers, body: body && JSON.stringify(body), signal,
        cache: "no-store", credentials: "include", redirect: "error",
      });
      if (answer.status !== 401 || renewed || !this.renewable || this.over) return answer;
      this.#token = await this.freshToken();
    }
  }

  /** A stream or poll that was refused: what that means for the link. @param {any} answer */
  async turnedDown(answer) {
    const { status } = answer;
    const problem = await problemOf(answer);
    /** @type {End} */
    const end = { code: status, reason: problem?.detail ?? `HTTP ${status}`, retry_after_s: retryAfter(answer) };
    // Only a problem is the hub's own word. A proxy that says no is just one more way that doesn't work.
    if (problem && FINAL.has(status)) end.reconnect = false;
    if (problem && LATER.has(status)) end.how = "refused";
    this.end(end);
  }

  /** @param {string} method @param {string} url @param {any} [body] @returns {Promise<any>} */
  async call(method, url, body) {
    const call = new AbortController();
    this.#calls.add(call);
    const timer = this.env.setTimeout(() => call.abort(), ANSWER_MS);
    try {
      const answer = await this.ask(url, { method, body, signal: call.signal });
      if (answer.ok) return answer.status === 204 ? {} : await answer.json();
      const problem = await problemOf(answer);
      const code = problem?.code ?? "unavailable"; // whoever else answered, it wasn't the hub
      throw new Undone(code, problem?.detail ?? `HTTP ${answer.status}`, retryAfter(answer));
    } catch (error) {
      throw error instanceof Undone ? error : new Undone("disconnected", String(error));
    } finally {
      this.env.clearTimeout(timer);
      this.#calls.delete(call);
    }
  }

  // ---- actions ------------------------------------------------------------------------------------------------------

  /** @param {Frame} action */
  async send(action) {
    let reply;
    try {
      reply = { ok: true, ...await this.#perform(action) };
    } catch (error) {
      reply = error instanceof Undone ? error.reply : new Undone("failed", String(error)).reply;
    }
    if (action.ref !== undefined && !this.over) this.on.frame({ hub: "reply", ref: action.ref, ...reply });
  }

  /** @param {Frame} action @returns {Promise<any>} */
  #perform(action) {
    const { connection } = this;
    switch (action.action) {
      case "ack": return this.call("POST", this.where.api("acks"), { ids: action.ids, connection });
      case "visibility": return this.#see(action.state);
      case "subscribe": return action.durable ? this.#durably("PUT", action) : this.#subscribe(action);
      case "unsubscribe": return this.#unsubscribe(action);
      case "auth": // the stream stands on the old one
        this.#token = action.token;
        return this.#reread();
    }
    const message = `${action.action} needs a WebSocket, and this connection is by ${this.transport}`;
    return Promise.reject(new Undone("not_on_this_transport", message));
  }

  /** One after the other: two requests at once could arrive in any order. @param {string} state */
  #see(state) {
    this.#visibility = this.#visibility.catch(() => {}).then(() => {
      const { connection } = this; // a poll has none: nobody looks at what isn't there between two of them
      return connection && !this.over && this.call("POST", this.where.api("visibility"), { connection, state });
    });
    return this.#visibility;
  }

  /** @param {string} method @param {Frame} action */
  async #durably(method, action) {
    const topics = namesIn(action);
    for (const name of topics) {
      try {
        await this.call(method, this.where.api(`subscriptions/${encodeURIComponent(name)}`));
      } catch (error) {
        const ended = method === "DELETE" && error instanceof Undone && error.reply.error.code === "not_found";
        if (!ended) throw error;
      }
    }
    return { topics };
  }

  /** @param {Frame} action */
  async #subscribe(action) {
    const topics = namesIn(action);
    const names = topics.filter(isTopic);
    const { asked } = this.where.request(this.transport);
    const over = names.find((name) => !asked.includes(name));
    if (over !== undefined) {
      const message = `${over}: the address of a request by ${this.transport} holds no more topics`;
      throw new Undone("not_on_this_transport", message);
    }
    const replay = action.cursor && await this.#replay(names, action.cursor);
    if (names.some((name) => !this.granted.includes(name))) await this.#reread();
    const [refused] = await this.refused(names);
    if (refused === undefined) return { topics, ...replay };
    throw new Undone("forbidden", `you may not subscribe to '${refused}', or there is no such topic`);
  }

  /**
   * What the topics had after a cursor of their own, read to its end before they join the others.
   * @param {string[]} topics @param {string} cursor
   */
  async #replay(topics, cursor) {
    let [replayed, recovered] = [0, true];
    for (let round = 0; round < REPLAY_ROUNDS && !this.over; round++) {
      const answer = await this.call("GET", this.where.request("poll", { topics, cursor, wait: 0 }).url);
      const { notifications, gap } = answer;
      if (gap && (gap.channel === null || topics.includes(gap.channel))) {
        recovered = false;
        this.on.frame({ hub: "gap", ...gap });
      }
      // What came by one's own channels meanwhile also comes by the link itself.
      const theirs = notifications.filter((/** @type {Frame} */ { channel }) => topics.includes(channel));
      for (const notification of theirs) this.on.frame(notification);
      replayed += theirs.length;
      if (notifications.length === 0) return { replayed, recovered };
      cursor = answer.cursor;
    }
    throw new Undone("busy", "the replay did not come to its end");
  }

  /** @param {Frame} action */
  async #unsubscribe(action) {
    const topics = namesIn(action);
    if (action.durable) await this.#durably("DELETE", action);
    if (topics.some((name) => this.asked.includes(name))) await this.#reread();
    return { topics };
  }

  /** Soon, and resolved when the new stream or poll is there. @returns {Promise<void>} */
  #reread() {
    return new Promise((resolve) => {
      this.#wanting.push(resolve);
      this.timers.after("reread", GATHER_MS, () => this.reread());
    });
  }
}

/** @param {Frame} action @returns {string[]} */
const namesIn = ({ topic, topics }) => topics ?? [topic];

/** The hub's own word about a refusal; undefined from anybody else. @param {any} answer */
async function problemOf(answer) {
  if (!answer.headers.get("Content-Type")?.includes("problem+json")) return undefined;
  try {
    return await answer.json();
  } catch {
    return undefined;
  }
}

/** @param {any} answer @returns {number | undefined} seconds */
function retryAfter(answer) {
  const seconds = Number.parseFloat(answer.headers.get("Retry-After") ?? "");
  return seconds > 0 ? seconds : undefined;
}
