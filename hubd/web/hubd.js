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
 *   notification  the notification, to be displayed; it is acked once the page is visible and has had input lately. A
 *                 listener that doesn't display it calls `event.preventDefault()`, then it isn't acked
 *   toast         the notification, to catch the eye: of all tabs of this browser only one that is visible gets it, and
 *                 none if the service worker has shown it; `notification` comes to all. Again `preventDefault()`
 *   state         { state, transport, reason, code, attempt, retryAt }; connecting, connected, reconnecting, offline or
 *                 closed; again `connected` when the transport changes
 *   welcome       { user, connection, cursor, topics, recovered, ... }: connected
 *   gap           { channel, reason }: notifications are missing here, and the hub can't bring them back
 *   read          { ids }: seen on another device; drop the toast. It may come before a late notification, then it
 *                 comes again right behind that
 *   retract       { ids }: taken back by the publisher
 *   presence      { topic, joined, left }; after a reconnect { topic, users, count }, as it is now
 *   push          { state }: whether this browser is notified while no page is open (`hub.push`, in hubd-push.js)
 *   error         { code, message }: what went wrong without ending the connection for good
 *
 * It goes by WebSocket; where a proxy doesn't let that through by server-sent events, and where one keeps those back by
 * long-polling; and returns to the better way when that is open again. Publishing and presence need the WebSocket: by
 * the others their promises are rejected with the code `not_on_this_transport`.
 *
 * @typedef {import("./hubd-link.js").Frame} Frame
 * @typedef {import("./hubd-link.js").Transport} Transport
 * @typedef {import("./hubd-connection.js").Token} Token
 * @typedef {import("./hubd-connection.js").Welcomed} Welcomed
 * @typedef {import("./hubd-page.js").Env} Env
 * @typedef {import("./hubd-push.js").PushOptions} PushOptions
 *
 * @typedef {object} Options
 * @property {string} [url] where the hub is, relative to the page or absolute (ws, wss, http, https)
 * @property {string} [user] for a hub in development mode: who to be, without a token
 * @property {Token} [token] a function is asked for a fresh one whenever one is needed
 * @property {string[]} [topics] live topics from the start
 * @property {string} [cursor] resume here, instead of where the page before this one (in this tab) stood
 * @property {boolean | string} [persist] keep the cursor over page loads, in sessionStorage (default: true); a name,
 *   where a page has several clients of one user, so that they don't take each other's
 * @property {any} [storage] keep it there instead: getItem and setItem
 * @property {Transport[]} [transports] those to use, best first (default: websocket, sse, poll)
 * @property {number} [climbMs] after how long on a lesser transport a better one is tried (default: 30,000); doubles
 * @property {number} [climbMaxMs] up to this (default: 300,000)
 * @property {boolean} [autoAck] ack what was handed to a listener, once somebody sees the page (default: true)
 * @property {boolean} [autoConnect] connect without being told (default: true)
 * @property {PushOptions} [push] for `hub.push`, by which notifications come while no page is open
 * @property {any} [WebSocket] another class to connect with
 * @property {Partial<Env>} [env] other surroundings: document, window, navigator, fetch, timers, clock, random
 */

import { Acks, keepNewest } from "./hubd-acks.js";
import { Address, isTopic } from "./hubd-address.js";
import { Connection, HubdError } from "./hubd-connection.js";
import { Memory, sessionStorageOf } from "./hubd-memory.js";
import { notebookOf, Once } from "./hubd-once.js";
import { environment, Page } from "./hubd-page.js";
import { Push } from "./hubd-push.js";

export { HubdError };

/** @type {Transport[]} */
const TRANSPORTS = ["websocket", "sse", "poll"];
const EVENTS = new Set(["gap", "read", "retract", "presence", "error"]);
const CANCELABLE = new Set(["notification", "toast"]);

/** Those of the wanted transports that these surroundings have. @param {Options} options @param {Env} env */
function usable({ transports = TRANSPORTS }, env) {
  const unknown = transports.find((name) => !TRANSPORTS.includes(name));
  if (unknown !== undefined) throw new TypeError(`transports: there is no '${unknown}', only ${TRANSPORTS.join(", ")}`);
  const usable = transports.filter((name) => (name === "websocket" ? env.WebSocket : env.fetch));
  if (usable.length === 0) throw new TypeError("transports: there is none to connect by");
  return usable;
}

export class Hubd extends EventTarget {
  /** @type {boolean} */ #autoAck;
  /** @type {Acks} */ #acks;
  /** @type {Connection} */ #connection;
  /** @type {Once} */ #once;
  /** @type {Page} */ #page;
  /** @type {Memory} */ #memory;
  /** @type {string | undefined} */ #cursor;
  #holds = 0; // while above zero, the cursor stays
  #overlapping = false; // until something new comes, it is what the link before this one gave already
  /** @type {Set<string>} */ #topics;
  /** @type {Set<string>} */ #watched = new Set();
  /** @type {Map<string, boolean>} id → did a listener show it */ #seen = new Map();
  #hasListener = false;
  #hasToastListener = false;

  /** @param {Options} [options] */
  constructor(options = {}) {
    super();
    const env = environment(options.env);
    if (options.WebSocket) env.WebSocket = options.WebSocket;
    this.#autoAck = options.autoAck ?? true;
    this.#topics = new Set(options.topics);
    const address = new Address(options);
    const { persist = true, storage = sessionStorageOf(env.window) } = options;
    this.#memory = new Memory(persist ? storage : null, `${address.name} ${persist === true ? "" : persist}`);
    this.#cursor = options.cursor ?? this.#memory.get("cursor");
    this.#connection = new Connection({
      env,
      token: options.token,
      where: {
        request: (transport, more) =>
          address.request(transport, { topics: this.topics, cursor: this.#cursor, ...more }),
        api: (path) => address.api(path),
      },
      memory: this.#memory,
      climbing: {
        transports: usable(options, env), climbMs: options.climbMs ?? 30_000, climbMaxMs: options.climbMaxMs ?? 300_000,
      },
      on: {
        state: (state, why) => {
          if (state === "closed") for (const part of [this.#page, this.#once]) part.unwatch();
          this.#emit("state", { state, ...why });
        },
        welcome: (frame, how) => this.#welcomed(frame, how),
        frame: (frame) => this.#received(frame),
        problem: (code, message) => this.#emit("error", { code, message }),
      },
    });
    this.#page = new Page(env, this.#memory, {
      attention: (state) => this.#connection.send({ action: "visibility", state }),
      shown: () => { this.#connection.shown(); this.#acks.flush(); this.#once.flush(); },
      network: () => this.#connection.networkChanged(),
    });
    this.#acks = new Acks(env, {
      isSeen: () => this.#page.isSeen,
      isConnected: () => this.state === "connected",
      say: async (ids) => { await this.ack(ids); this.#once.closeShown(ids); },
    });
    const notebook = notebookOf(env);
    const { token } = options;
    const emit = (/** @type {string} */ type, /** @type {any} */ detail) => this.#emit(type, detail);
    /** Being notified while no page is open: `enable()`, `disable()`, `state`. */
    this.push = new Push({ env, notebook, token, emit, api: (path) => address.api(path) }, options.push);
    this.#once = new Once(env, notebook, {
      isVisible: () => this.#page.visible,
      isConnected: () => this.state === "connected",
      shows: () => this.#hasToastListener || this.#hasListener,
      show: (notification) => this.#toast(notification),
      renew: () => this.push.renew(this.#once.user),
    });
    if (options.autoConnect ?? true) this.connect();
  }

  get state() { return this.#connection.state; }
  /** What it goes by: websocket, sse or poll; while it isn't connected, what it tries next. */
  get transport() { return this.#connection.transport; }
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
    this.#connection.topicsChanged();
    try {
      const asked = this.#connection.act({ action: "subscribe", topics: names, durable, cursor });
      const reply = await (cursor === undefined ? asked : this.#hold(asked));
      this.#advance(reply.cursor);
      return reply;
    } catch (error) {
      const refused = error instanceof HubdError && (error.refused || error.code === "busy");
      // One with its own cursor can't be repeated from ours without losing what lies between: its caller must do it.
      if (refused || cursor !== undefined) this.#leave(added);
      throw error;
    }
  }

  /** All or nothing, but an address may have brought some of them already. @param {string[]} added */
  #leave(added) {
    for (const name of added) this.#topics.delete(name);
    if (this.transport !== "websocket" && added.length > 1) this.unsubscribe(added).catch(() => {});
  }

  /** @param {string | string[]} topics @param {{ durable?: boolean }} [options] */
  unsubscribe(topics, { durable } = {}) {
    const names = [topics].flat();
    for (const name of names) this.#topics.delete(name);
    for (const name of names) this.#watched.delete(name);
    this.#connection.topicsChanged();
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

  /**
   * Who is there; with `watch`, events follow, also after reconnects.
   * @param {string} topic @param {{ watch?: boolean }} [options]
   */
  async presence(topic, { watch } = {}) {
    if (watch === false) this.#watched.delete(topic);
    try {
      const reply = await this.#connection.act({ action: "presence", topic, watch });
      if (watch) this.#watched.add(topic);
      return reply;
    } catch (error) {
      // It begins when the connection climbs to one that can.
      if (watch && error instanceof HubdError && error.code === "not_on_this_transport") this.#watched.add(topic);
      throw error;
    }
  }

  /**
   * Noted, because without a listener nothing is shown, and then nothing may be acked.
   * @type {EventTarget["addEventListener"]}
   */
  addEventListener(type, listener, options) {
    if (type === "notification") this.#hasListener = true;
    if (type === "toast") this.#hasToastListener = true;
    super.addEventListener(type, listener, options);
  }

  // ---- resuming -----------------------------------------------------------------------------------------------------

  /** @param {Frame} frame @param {Welcomed} how */
  #welcomed(frame, { asked, fresh, overlapping }) {
    // On a resume ours stays until something after it was handed over: a gap told twice is better than one told never.
    if (this.#cursor === undefined) this.#keep(frame.cursor);
    this.#overlapping = overlapping;
    this.#once.watch(frame.user);
    if (fresh) this.#emit("state", { state: "connected", transport: this.transport, attempt: 0 });
    this.#emit("welcome", frame);
    if (fresh) this.push.welcomed(frame.user);
    this.#page.report(frame.attention_s);
    if (fresh) this.#reportRefused(asked, frame.topics);
    if (fresh) this.#restore(this.topics.filter((topic) => !asked.includes(topic)));
    this.#acks.flush();
  }

  /**
   * The hub leaves refused topics out. They stay wanted: the next token may allow them.
   * @param {string[]} asked @param {string[]} granted
   */
  #reportRefused(asked, granted) {
    for (const topic of asked) {
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
    if (typeof cursor === "string" && this.#holds === 0) this.#keep(cursor);
  }

  /** @param {string} cursor */
  #keep(cursor) {
    if (cursor === this.#cursor) return;
    this.#cursor = cursor;
    this.#memory.set("cursor", cursor);
  }

  // ---- what arrives -------------------------------------------------------------------------------------------------

  /** @param {Frame} frame */
  #received(frame) {
    if ("type" in frame) return this.#notified(frame);
    if (frame.hub === "ping") return this.#advance(frame.cursor);
    if (!EVENTS.has(frame.hub)) return;
    const { hub, ...detail } = frame;
    if (hub === "read" || hub === "retract") for (const part of [this.#acks, this.#once]) part.settle(detail.ids, hub);
    this.#emit(hub, detail);
  }

  /** @param {Frame} notification */
  #notified(notification) {
    const { id, cursor } = notification;
    if (typeof id !== "string") return this.#emit("error", { code: "bad_frame", message: "a notification without id" });
    this.#connection.arrived();
    let shown = this.#seen.get(id);
    const again = shown !== undefined;
    if (shown === undefined) {
      this.#seen.set(id, true);
      keepNewest(this.#seen);
      shown = this.#emit("notification", notification) && this.#hasListener;
      if (!shown) this.#seen.set(id, false);
    }
    if (!again) this.#overlapping = false;
    // Only now: if the page dies inside a listener, the next one gets it again.
    if (!this.#overlapping) this.#advance(cursor);
    // A repeated one too: it was repeated because the hub doesn't know that it was shown.
    if (shown && this.#autoAck) this.#acks.shown(id);
    const settled = again ? undefined : this.#acks.settled(id);
    if (settled) this.#emit(settled, { ids: [id] });
    else if (!again && this.#hasToastListener) this.#once.arrived(notification);
    else if (!again && shown && this.push.state === "on") this.#once.noted(id);
  }

  /** @param {Frame} notification @returns {boolean} whether a listener shows it */
  #toast(notification) {
    const isShown = this.#emit("toast", notification);
    if (isShown && this.#autoAck && !this.#seen.get(notification.id)) this.#acks.shown(notification.id);
    return isShown;
  }

  /** @param {string} type @param {any} detail @returns {boolean} false if a listener prevented the default */
  #emit(type, detail) {
    return this.dispatchEvent(new CustomEvent(type, { detail, cancelable: CANCELABLE.has(type) }));
  }
}
