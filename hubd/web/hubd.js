// @ts-check
/**
 * hubd in the browser: one connection that stays up, resumes where it stood, and hands over each notification once.
 *
 *     import { Hubd } from "/hubd.js";
 *     const hub = new Hubd({ token: () => fetch("/hub-token").then((answer) => answer.text()) });
 *     hub.addEventListener("notification", ({ detail }) => showToast(detail.title, detail.body));
 *     hub.subscribe("team:engineering");
 *
 * Events, and what their `detail` holds:
 *   notification  the notification; a listener that doesn't show it calls `event.preventDefault()`, then it isn't acked
 *   state         { state, reason, code, attempt, retryAt }; connecting, connected, reconnecting, offline or closed
 *   welcome       { user, connection, cursor, topics, recovered, ... }: connected
 *   gap           { channel, reason }: notifications are missing here, and the hub can't bring them back
 *   read          { ids }: seen on another device; drop the toast
 *   retract       { ids }: taken back by the publisher
 *   presence      { topic, joined, left }; after a reconnect { topic, users, count }, as it is now
 *   error         { code, message }: what went wrong without ending the connection for good
 *
 * @typedef {import("./hubd-connection.js").Frame} Frame
 * @typedef {import("./hubd-connection.js").Token} Token
 * @typedef {import("./hubd-page.js").Env} Env
 *
 * @typedef {object} Options
 * @property {string} [url] where the hub is, relative to the page or absolute (ws, wss, http, https)
 * @property {string} [user] for a hub in development mode: who to be, without a token
 * @property {Token} [token] a function is asked for a fresh one whenever one is needed
 * @property {string[]} [topics] live topics from the start
 * @property {string} [cursor] resume here, if the application kept `hub.cursor` over a page load
 * @property {boolean} [autoAck] ack what was handed to a listener while the page is visible (default: true)
 * @property {boolean} [autoConnect] connect without being told (default: true)
 * @property {any} [WebSocket] another class to connect with
 * @property {Partial<Env>} [env] other surroundings: document, window, navigator, timers, clock, random
 */

import { Connection, HubdError } from "./hubd-connection.js";
import { environment, Page } from "./hubd-page.js";

export { HubdError };

const ACK_DELAY_MS = 50; //       acks of a burst travel together: answering a replay must not look like a flood
const ACK_BATCH = 250; //         ids of 128 characters, under the hub's limit of a frame
const REMEMBERED = 1_000;
const URL_TOPICS_MAX = 3_000; //  characters; there are limits on a request line all along the way
const EVENTS = new Set(["gap", "read", "retract", "presence", "error"]);

/** Forgets the oldest of a Map or Set. @param {Map<any, any> | Set<any>} entries */
function keepNewest(entries) {
  while (entries.size > REMEMBERED) entries.delete(entries.keys().next().value);
}

/** A user's own channel and the broadcast channel are joined without asking. @param {string} name */
const isTopic = (name) => name !== "notifications" && !name.startsWith("user:");

/** @param {Options} options */
function webSocketUrl({ url = "/notifications" }) {
  const absolute = new URL(url, globalThis.location?.href);
  absolute.protocol = absolute.protocol.replace("http", "ws");
  return absolute;
}

export class Hubd extends EventTarget {
  /** @type {Env} */ #env;
  /** @type {URL} */ #base;
  /** @type {string | undefined} */ #user;
  /** @type {boolean} */ #autoAck;
  /** @type {Connection} */ #connection;
  /** @type {Page} */ #page;
  /** @type {string | undefined} */ #cursor;
  #holds = 0; // while above zero, the cursor stays
  /** @type {Set<string>} */ #topics;
  /** @type {string[]} topics that the URL asked for */ #inUrl = [];
  /** @type {Set<string>} */ #watched = new Set();
  /** @type {Map<string, boolean>} id → did a listener show it */ #seen = new Map();
  /** @type {Set<string>} */ #unacked = new Set();
  /** @type {any} */ #ackTimer;
  #hasListener = false;

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    const env = environment(options.env);
    if (options.WebSocket) env.WebSocket = options.WebSocket;
    this.#env = env;
    this.#base = webSocketUrl(options);
    this.#user = options.user;
    this.#autoAck = options.autoAck ?? true;
    this.#topics = new Set(options.topics);
    this.#cursor = options.cursor;
    this.#connection = new Connection({
      env,
      token: options.token,
      url: () => this.#url(),
      on: {
        state: (state, why) => {
          if (state === "closed") this.#page.unwatch();
          this.#emit("state", { state, ...why });
        },
        welcome: (frame) => this.#welcomed(frame),
        frame: (frame) => this.#received(frame),
        problem: (code, message) => this.#emit("error", { code, message }),
      },
    });
    this.#page = new Page(env, {
      attention: (state) => this.#connection.send({ action: "visibility", state }),
      shown: () => { this.#connection.checkSilence(); this.#flushAcks(); },
      network: () => this.#connection.networkChanged(),
    });
    if (options.autoConnect ?? true) this.connect();
  }

  get state() { return this.#connection.state; }
  /** Everything up to here was handed over. */
  get cursor() { return this.#cursor; }
  /** The live topics that are kept over reconnects. */
  get topics() { return [...this.#topics]; }

  /** Connects, also again after `closed`. */
  connect() {
    this.#page.watch();
    this.#connection.connect();
  }

  /** Ends the connection, and brings no other. */
  close(reason = "closed by the page") {
    this.#connection.close(reason);
  }

  /** Cuts the connection and stays away for a while: a lost network on demand. */
  drop(ms = 5_000) {
    this.#connection.drop(ms);
  }

  /**
   * Subscribes live (kept over reconnects) or durably (kept by the hub for the user). Refused topics are forgotten;
   * live ones whose reply got lost with the connection are asked for again on the next, though the promise is rejected.
   * @param {string | string[]} topics
   * @param {{ durable?: boolean, cursor?: string }} [options] cursor: first what was published after it
   */
  async subscribe(topics, { durable, cursor } = {}) {
    const names = [topics].flat();
    const added = durable ? [] : names.filter((name) => isTopic(name) && !this.#topics.has(name));
    for (const name of added) this.#topics.add(name);
    try {
      const asked = this.#connection.act({ action: "subscribe", topics: names, durable, cursor });
      const reply = await (cursor === undefined ? asked : this.#hold(asked));
      this.#advance(reply.cursor);
      return reply;
    } catch (error) {
      const refused = error instanceof HubdError && (error.refused || error.code === "busy");
      // One with its own cursor can't be repeated from ours without losing what lies between: its caller must do it.
      if (refused || cursor !== undefined) for (const name of added) this.#topics.delete(name);
      throw error;
    }
  }

  /** @param {string | string[]} topics @param {{ durable?: boolean }} [options] */
  unsubscribe(topics, { durable } = {}) {
    const names = [topics].flat();
    for (const name of names) this.#topics.delete(name);
    for (const name of names) this.#watched.delete(name);
    return this.#connection.act({ action: "unsubscribe", topics: names, durable });
  }

  /** Publishes, if the token allows it. @param {Frame} body as over HTTP: `{ to, notification, priority, ... }` */
  publish(body) {
    return this.#connection.act({ ...body, action: "publish" });
  }

  /** Tells the hub that these were shown to a person. @param {string | string[]} ids */
  ack(ids) {
    return this.#connection.act({ action: "ack", ids: [ids].flat() });
  }

  /** Who is there; with `watch`, events follow. @param {string} topic @param {{ watch?: boolean }} [options] */
  async presence(topic, { watch } = {}) {
    if (watch === false) this.#watched.delete(topic);
    const reply = await this.#connection.act({ action: "presence", topic, watch });
    if (watch) this.#watched.add(topic);
    return reply;
  }

  /**
   * Noted, because without a listener nothing is shown, and then nothing may be acked.
   * @type {EventTarget["addEventListener"]}
   */
  addEventListener(type, listener, options) {
    if (type === "notification") this.#hasListener = true;
    super.addEventListener(type, listener, options);
  }

  // ---- resuming -----------------------------------------------------------------------------------------------------

  #url() {
    const url = new URL(this.#base);
    if (this.#user !== undefined) url.searchParams.set("user", this.#user);
    if (this.#cursor !== undefined) url.searchParams.set("cursor", this.#cursor);
    let room = URL_TOPICS_MAX;
    this.#inUrl = this.topics.filter((topic) => (room -= encodeURIComponent(topic).length + 3) >= 0);
    if (this.#inUrl.length) url.searchParams.set("topics", this.#inUrl.join(","));
    return url.href;
  }

  /** @param {Frame} frame */
  #welcomed(frame) {
    // On a resume ours stays until something after it was handed over: a gap told twice is better than one told never.
    this.#cursor ??= frame.cursor;
    this.#emit("state", { state: "connected", attempt: 0 });
    this.#emit("welcome", frame);
    this.#page.report();
    this.#reportRefused(frame.topics);
    this.#restore(this.topics.filter((topic) => !this.#inUrl.includes(topic)));
    this.#flushAcks();
  }

  /** The hub leaves refused topics out. They stay wanted: the next token may allow them. @param {string[]} granted */
  #reportRefused(granted) {
    for (const topic of this.#inUrl) {
      const refused = this.#topics.has(topic) && !granted.includes(topic);
      if (refused) this.#emit("error", { code: "forbidden", message: `not subscribed to ${topic}`, topic });
    }
  }

  /** Asks for what belongs to a connection and was not in its URL. @param {string[]} topics */
  async #restore(topics) {
    if (topics.length) {
      const cursor = await this.#hold(this.#resubscribe(topics));
      if (cursor === null) return;
      this.#advance(cursor);
    }
    for (const topic of this.#watched) {
      const reply = await this.#ask({ action: "presence", topic, watch: true });
      if (reply === null) return;
      if (reply) this.#emit("presence", { topic, users: reply.users, count: reply.count });
    }
  }

  /**
   * One by one, since one that is refused would take the others with it.
   * @param {string[]} topics @returns {Promise<string | undefined | null>} the cursor that covers all; null: cut off
   */
  async #resubscribe(topics) {
    const from = this.#cursor;
    let cursor;
    for (const topic of topics) {
      if (!this.#topics.has(topic)) continue;
      const reply = await this.#ask({ action: "subscribe", topic, cursor: from });
      if (reply === null) return null;
      cursor = reply?.cursor ?? cursor;
    }
    return cursor;
  }

  /**
   * The reply; undefined if refused; null if the connection is gone. It may take its time: there may be a replay first.
   * @param {Frame} action
   */
  async #ask(action) {
    try {
      return await this.#connection.act(action, 0);
    } catch (error) {
      if (!(error instanceof HubdError) || !error.refused) return null;
      this.#emit("error", { code: error.code, message: error.message, topic: action.topic });
    }
  }

  /**
   * Some topics are replayed: until they are through, cursors that arrive are of the past, or don't vouch for them.
   * @template T @param {Promise<T>} replaying
   */
  async #hold(replaying) {
    this.#holds++;
    try {
      return await replaying;
    } finally {
      this.#holds--;
    }
  }

  /** @param {string | undefined} cursor */
  #advance(cursor) {
    if (typeof cursor === "string" && this.#holds === 0) this.#cursor = cursor;
  }

  // ---- what arrives -------------------------------------------------------------------------------------------------

  /** @param {Frame} frame */
  #received(frame) {
    if ("type" in frame) return this.#notified(frame);
    if (frame.hub === "ping") return this.#advance(frame.cursor);
    if (!EVENTS.has(frame.hub)) return;
    const { hub, ...detail } = frame;
    this.#emit(hub, detail);
  }

  /** @param {Frame} notification */
  #notified(notification) {
    const { id, cursor } = notification;
    if (typeof id !== "string") return this.#emit("error", { code: "bad_frame", message: "a notification without id" });
    let shown = this.#seen.get(id);
    if (shown === undefined) {
      this.#seen.set(id, true);
      keepNewest(this.#seen);
      shown = this.#emit("notification", notification) && this.#hasListener;
      if (!shown) this.#seen.set(id, false);
    }
    // Only now: if the page dies inside a listener, the next one gets it again.
    this.#advance(cursor);
    // A repeated one too: it was repeated because the hub doesn't know that it was shown.
    if (shown && this.#autoAck) this.#ackSoon(id);
  }

  /** @param {string} type @param {any} detail @returns {boolean} false if a listener prevented the default */
  #emit(type, detail) {
    return this.dispatchEvent(new CustomEvent(type, { detail, cancelable: type === "notification" }));
  }

  // ---- acks ---------------------------------------------------------------------------------------------------------

  /** @param {string} id */
  #ackSoon(id) {
    this.#unacked.add(id);
    keepNewest(this.#unacked);
    this.#ackTimer ??= this.#env.setTimeout(() => this.#flushAcks(), ACK_DELAY_MS);
  }

  /** A hidden page shows nothing to anybody: what it got is acked when it comes to the front. */
  #flushAcks() {
    this.#env.clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    if (!this.#page.visible || this.state !== "connected" || this.#unacked.size === 0) return;
    const ids = [...this.#unacked].slice(0, ACK_BATCH);
    for (const id of ids) this.#unacked.delete(id);
    this.ack(ids).catch(({ refused }) => {
      // Lost on the way: the cursor is past them, so nothing but saying it again can stop the push.
      if (!refused) for (const id of ids) this.#unacked.add(id);
      keepNewest(this.#unacked);
    });
    if (this.#unacked.size) this.#ackTimer = this.#env.setTimeout(() => this.#flushAcks(), ACK_DELAY_MS);
  }
}
