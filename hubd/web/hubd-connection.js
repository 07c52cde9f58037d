// @ts-check
/**
 * The connection to the hub that comes back: a link over one transport, actions with their replies, and when the link
 * ends, the next one at the right time. It knows nothing of notifications; what isn't its own business goes to
 * `on.frame`.
 *
 * @typedef {"connecting" | "connected" | "reconnecting" | "offline" | "closed"} State
 * @typedef {{ reason?: string, code?: number, retryAt?: number, attempt?: number, transport?: Transport }} Why
 * @typedef {{ frame: Frame, sent: boolean, timer: any, resolve: (reply: Frame) => void,
 *   reject: (error: Error) => void }} Pending an action that waits for its reply, or for a connection
 *
 * @typedef {object} Welcomed
 * @property {string[]} asked the topics that the link's address had
 * @property {boolean} fresh not just the same link, opened anew inside
 * @property {boolean} overlapping the link before was in use up to this moment: some of it comes again
 *
 * @typedef {object} Owner
 * @property {(state: State, why: Why) => void} state every state but `connected`, which is told by `welcome`
 * @property {(frame: Frame, how: Welcomed) => void} welcome the connection is up
 * @property {(frame: Frame) => void} frame
 * @property {(code: string, message: string) => void} problem
 *
 * @typedef {object} Climbing
 * @property {Transport[]} transports best first
 * @property {number} climbMs @property {number} climbMaxMs
 *
 * @typedef {import("./hubd-page.js").Env} Env
 * @typedef {import("./hubd-link.js").Frame} Frame
 * @typedef {import("./hubd-link.js").Transport} Transport
 * @typedef {import("./hubd-link.js").Link} Link
 * @typedef {import("./hubd-link.js").LinkOwner} LinkOwner
 * @typedef {import("./hubd-link.js").Where} Where
 * @typedef {import("./hubd-link.js").End} End
 * @typedef {import("./hubd-memory.js").Memory} Memory
 * @typedef {string | (() => string | Promise<string>)} Token
 */

import { Climb } from "./hubd-climb.js";
import { Ladder } from "./hubd-ladder.js";
import { PollLink } from "./hubd-poll.js";
import { SseLink } from "./hubd-sse.js";
import { Timers } from "./hubd-timers.js";
import { WebSocketLink } from "./hubd-websocket.js";

const LINKS = { websocket: WebSocketLink, sse: SseLink, poll: PollLink };
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const STABLE_MS = 5_000; //          a connection that lived this long was a good one: the backoff starts anew
const REPLY_MS = 10_000;
const RETRY_AFTER_MAX_S = 3_600; //  a timer of more than 24 days would fire at once
const PENDING_MAX = 64;
const ACTIONS_PER_S = 40; //         over 100 frames in a second of its own clock, the hub takes it for a flood
const NO_RETURN = new Set([4500, 4501, 4507]); // bad token, no token in time, revoked
const EXPIRED = 4001;
const OF_THIS_SIDE = new Set(["disconnected"]);

/** Why an action failed: a code of the hub, or `disconnected`, `timeout`, `closed`, `busy`, `not_on_this_transport`. */
export class HubdError extends Error {
  /**
   * @param {string} code @param {string} [message] @param {boolean} [refused] asking again won't help
   * @param {number} [retryAfterS] but it will, after so long
   */
  constructor(code, message = code, refused = false, retryAfterS) {
    super(message);
    this.name = "HubdError";
    this.code = code;
    this.refused = refused;
    this.retryAfterS = retryAfterS;
  }
}

/**
 * Full jitter: anywhere between zero and the exponential bound, so that those cut off together come back one by one.
 * @param {number} failures @param {() => number} random
 */
export function backoffMs(failures, random) {
  return random() * Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** failures);
}

export class Connection {
  #env;
  #on;
  #where;
  #token;
  #memory;
  #ladder;
  #climb;
  #timers;
  /** @type {State} */ #state = "closed";
  /** @type {Link | null} the one that counts; one that was given up says nothing any more */ #link = null;
  /** @type {Map<any, Pending>} */ #pending = new Map();
  #life = 0; //             moves on with each link that is opened or given up
  #failures = 0;
  #notBefore = 0; //        the hub, or drop(), asked to stay away until then
  #lastRef = 0;
  #second = { since: 0, sent: 0 };

  /**
   * @param {{ env: Env, where: Where, token?: Token, on: Owner, memory: Memory, climbing: Climbing }} parts
   */
  constructor({ env, where, token, on, memory, climbing: { transports, climbMs, climbMaxMs } }) {
    this.#env = env;
    this.#where = where;
    this.#token = token;
    this.#on = on;
    this.#memory = memory;
    this.#timers = new Timers(env);
    this.#ladder = new Ladder(transports, memory.get("transport"));
    this.#climb = new Climb({
      env, firstMs: climbMs, maxMs: climbMaxMs,
      open: (transport, owner) => this.#newLink(transport, owner),
      adopt: (link, welcome) => this.#adopt(link, welcome),
    });
  }

  get state() { return this.#state; }
  get transport() { return this.#ladder.transport; }

  connect() {
    if (this.#state !== "closed") return;
    this.#failures = this.#notBefore = 0;
    this.#open();
  }

  /** @param {string} reason @param {number} [code] */
  close(reason, code = 1000) {
    if (this.#state === "closed") return;
    this.#hangUp(reason);
    for (const ref of this.#pending.keys()) this.#settle(ref, new HubdError("closed", reason));
    this.#setState("closed", { reason, code });
  }

  /** @param {number} ms */
  drop(ms) {
    if (this.#state === "closed") return;
    this.#hangUp("dropped");
    this.#notBefore = this.#env.now() + ms;
    this.#retryIn(ms, { reason: "dropped" });
  }

  /**
   * Sends an action, now or when connected, and waits for its reply. Those without a limit of time come from the client
   * itself, one after the other, so they are never too many.
   * @param {Frame} action @param {number} [limitMs] @returns {Promise<Frame>}
   */
  act(action, limitMs = REPLY_MS) {
    if (this.#state === "closed") return Promise.reject(new HubdError("closed", "the connection is closed"));
    if (limitMs && this.#pending.size >= PENDING_MAX) {
      return Promise.reject(new HubdError("busy", `${PENDING_MAX} actions are waiting for replies already`));
    }
    const ref = ++this.#lastRef;
    return new Promise((resolve, reject) => {
      const late = () => this.#settle(ref, new HubdError("timeout", `no reply to ${action.action} in time`));
      const timer = limitMs ? this.#env.setTimeout(late, limitMs) : undefined;
      this.#pending.set(ref, { frame: { ...action, ref }, sent: false, timer, resolve, reject });
      if (this.#state === "connected") this.#sendWaiting();
    });
  }

  /** Sends an action that wants no reply; while not connected it is dropped. @param {Frame} action */
  send(action) {
    if (this.#state === "connected") this.#link?.send(action);
  }

  /** Other topics are wanted: a better transport that is being tried was asked for the old ones. */
  topicsChanged() {
    this.#climb.outdated();
  }

  /** A notification came. */
  arrived() {
    this.#climb.arrived();
  }

  /** The browser says that the network went or came. It may be wrong in both, so a live connection is asked. */
  networkChanged() {
    const online = this.#env.navigator?.onLine !== false;
    if (this.#state === "connected") {
      this.#link?.check();
      if (online) this.#climb.now();
    } else if (this.#timers.has("retry")) {
      if (online) this.#failures = 0;
      const wait = online ? 0 : backoffMs(this.#failures, this.#env.random);
      const reason = online ? "the network is back" : "no network";
      this.#retryIn(Math.max(wait, this.#notBefore - this.#env.now()), { reason });
    }
  }

  /** Somebody looks at the page again, perhaps after a sleep. */
  shown() {
    this.#link?.checkSilence();
    this.#climb.now();
  }

  // ---- from one link to the next ------------------------------------------------------------------------------------

  async #open() {
    const life = ++this.#life;
    this.#state = "connecting";
    await undefined; // whoever made the client in this moment shall have added his listeners
    if (life !== this.#life) return;
    this.#setState("connecting", {});
    if (life !== this.#life) return;
    const link = this.#newLink(this.#ladder.transport, this.#listener());
    this.#link = link;
    link.start();
  }

  /** @param {Transport} transport @param {LinkOwner} on */
  #newLink(transport, on) {
    return new LINKS[transport]({
      env: this.#env, where: this.#where, token: () => this.#freshToken(), renewable: this.#renewable, on,
    });
  }

  /** @returns {LinkOwner} */
  #listener() {
    return {
      frame: (frame) => this.#receive(frame),
      end: (end) => this.#lost(end),
      problem: this.#on.problem,
    };
  }

  /** A better link is welcome. The old one gave all that it had; the new one goes on from where it was opened. */
  #adopt(/** @type {Link} */ link, /** @type {Frame} */ welcome) {
    this.#link?.close();
    link.on = this.#listener();
    this.#link = link;
    // Whether they were done is unknown, but what goes over a request of its own may be said twice.
    for (const pending of this.#pending.values()) pending.sent = false;
    this.#welcomed(welcome, true);
  }

  get #renewable() { return typeof this.#token === "function"; }

  /** @returns {Promise<string | undefined>} */
  async #freshToken() {
    return typeof this.#token === "function" ? this.#token() : this.#token;
  }

  /** @param {End} end */
  #lost({ how = "lost", code = 1006, reason = "", reconnect = true, retry_after_s: order = 0 }) {
    const noOtherToken = code === EXPIRED && !this.#renewable;
    if (!reconnect || NO_RETURN.has(code) || noOtherToken) return this.close(reason, code);
    const orderedMs = Math.max(order > 0 ? Math.min(order, RETRY_AFTER_MAX_S) * 1000 : 0, this.#link?.retryMs ?? 0);
    const next = this.#ladder.ended(how);
    this.#hangUp(reason);
    if (next) return this.#open();
    this.#notBefore = this.#env.now() + orderedMs;
    this.#retryIn(orderedMs + backoffMs(this.#failures++, this.#env.random), { reason, code });
  }

  /** @param {string} reason */
  #hangUp(reason) {
    this.#life++;
    this.#timers.clear();
    this.#climb.stop();
    const link = this.#link;
    this.#link = null;
    link?.close();
    // What was sent may or may not have been done: only the caller can know whether to say it again.
    for (const [ref, { sent }] of this.#pending) if (sent) this.#settle(ref, new HubdError("disconnected", reason));
  }

  /** @param {number} ms @param {Why} why */
  #retryIn(ms, why) {
    this.#timers.after("retry", ms, () => this.#open());
    // Tried even while the browser believes it is offline: it may be wrong, and a hub on this machine is always there.
    const state = this.#env.navigator?.onLine === false ? "offline" : "reconnecting";
    this.#setState(state, { ...why, retryAt: this.#env.now() + ms });
  }

  /** @param {State} state @param {Why} why */
  #setState(state, why) {
    this.#state = state;
    this.#on.state(state, { attempt: this.#failures, transport: this.transport, ...why });
  }

  // ---- frames -------------------------------------------------------------------------------------------------------

  /** At a pace that the hub takes, whatever the application wants at once. */
  #sendWaiting() {
    const now = this.#env.now();
    if (Math.abs(now - this.#second.since) >= 1000) this.#second = { since: now, sent: 0 };
    for (const pending of this.#pending.values()) {
      if (pending.sent) continue;
      if (this.#second.sent >= ACTIONS_PER_S) {
        return this.#timers.after("pace", this.#second.since + 1000 - now, () => this.#sendWaiting());
      }
      this.#second.sent++;
      pending.sent = true;
      this.#link?.send(pending.frame);
    }
  }

  /** @param {Frame} frame */
  #receive(frame) {
    if ("type" in frame) return this.#on.frame(frame);
    switch (frame.hub) {
      case "welcome": return this.#welcomed(frame, false);
      case "reply": return this.#settle(frame.ref, frame.ok ? frame : refusal(frame));
      case "token_expiring": this.#renewToken(); break;
    }
    this.#on.frame(frame);
  }

  /** @param {Frame} frame @param {boolean} overlapping */
  #welcomed(frame, overlapping) {
    const { transport, asked } = /** @type {Link} */ (this.#link);
    const fresh = overlapping || this.#state !== "connected";
    if (fresh) {
      this.#ladder.works(transport);
      this.#memory.set("transport", transport);
      this.#climb.begin(this.#ladder.better);
      this.#timers.after("stable", STABLE_MS, () => { this.#failures = 0; });
    }
    this.#state = "connected";
    this.#on.welcome(frame, { asked, fresh, overlapping });
    this.#sendWaiting();
  }

  /** @param {any} ref @param {Frame | HubdError} outcome */
  #settle(ref, outcome) {
    const pending = this.#pending.get(ref);
    if (!pending) return;
    this.#pending.delete(ref);
    this.#env.clearTimeout(pending.timer);
    if (outcome instanceof HubdError) pending.reject(outcome);
    else pending.resolve(outcome);
  }

  async #renewToken() {
    if (!this.#renewable) return;
    try {
      await this.act({ action: "auth", token: await this.#freshToken() });
    } catch (error) {
      // Not the end yet: the hub closes when the old one runs out, and the next connection asks for another.
      this.#on.problem("token_not_renewed", String(error));
    }
  }
}

/** @param {Frame} reply */
function refusal({ error }) {
  const code = error?.code ?? "refused";
  return new HubdError(code, error?.message, !OF_THIS_SIDE.has(code), error?.retry_after_s);
}
