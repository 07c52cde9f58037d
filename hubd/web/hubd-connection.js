// @ts-check
/**
 * One connection to the hub that comes back: token, handshake, welcome, actions with their replies, and when it ends,
 * the next try at the right time. It knows nothing of notifications; what isn't its own business goes to `on.frame`.
 *
 * @typedef {"connecting" | "connected" | "reconnecting" | "offline" | "closed"} State
 * @typedef {Record<string, any>} Frame
 * @typedef {{ reason?: string, code?: number, retryAt?: number, attempt?: number }} Why
 * @typedef {{ frame: Frame, sent: boolean, timer: any, resolve: (reply: Frame) => void,
 *   reject: (error: Error) => void }} Pending an action that waits for its reply, or for a connection
 *
 * @typedef {object} Owner
 * @property {(state: State, why: Why) => void} state every state but `connected`, which is told by `welcome`
 * @property {(frame: Frame) => void} welcome the connection is up
 * @property {(frame: Frame) => void} frame
 * @property {(code: string, message: string) => void} problem
 *
 * @typedef {import("./hubd-page.js").Env} Env
 * @typedef {string | (() => string | Promise<string>)} Token
 */

const SUBPROTOCOL = "hubd.v1.json";
const BACKOFF_BASE_MS = 500;
const BACKOFF_CAP_MS = 30_000;
const STABLE_MS = 5_000; //          a connection that lived this long was a good one: the backoff starts anew
const CONNECT_MS = 15_000; //        token, handshake and welcome together
const REPLY_MS = 10_000;
const PROBE_MS = 5_000;
const SILENCE_MS = 15_000; //        beyond the hub's ping interval
const RETRY_AFTER_MAX_S = 3_600; //  a timer of more than 24 days would fire at once
const PENDING_MAX = 64;
const ACTIONS_PER_S = 40; //         over 100 frames in a second of its own clock, the hub takes it for a flood
const NO_RETURN = new Set([4500, 4501, 4507]); // bad token, no token in time, revoked
const EXPIRED = 4001;

/** Why an action failed: a code of the hub, or `disconnected`, `timeout`, `closed`, `busy` of this side. */
export class HubdError extends Error {
  /** @param {string} code @param {string} [message] @param {boolean} [refused] by the hub: asking again won't help */
  constructor(code, message = code, refused = false) {
    super(message);
    this.name = "HubdError";
    this.code = code;
    this.refused = refused;
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
  /** @type {Env} */ #env;
  /** @type {Owner} */ #on;
  /** @type {() => string} */ #url;
  /** @type {Token | undefined} */ #token;
  /** @type {State} */ #state = "closed";
  /** @type {any} the socket whose events count; one that was given up may still call */ #socket = null;
  /** @type {Map<string, any>} */ #timers = new Map();
  /** @type {Map<any, Pending>} */ #pending = new Map();
  #life = 0; //             moves on whenever a socket is given up: a late token then finds itself outdated
  #failures = 0;
  #notBefore = 0; //        the hub, or drop(), asked to stay away until then
  #lastRef = 0;
  #second = { since: 0, sent: 0 };
  #heardAt = 0;
  #silenceMs = Infinity;

  /** @param {{ env: Env, url: () => string, token?: Token, on: Owner }} parts */
  constructor({ env, url, token, on }) {
    this.#env = env;
    this.#url = url;
    this.#token = token;
    this.#on = on;
  }

  get state() { return this.#state; }

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
    if (this.#state === "connected") this.#write(action);
  }

  /** The browser says that the network went or came. It may be wrong in both, so a live connection is asked. */
  networkChanged() {
    const online = this.#env.navigator?.onLine !== false;
    if (this.#state === "connected") {
      this.act({ action: "ping" }, PROBE_MS).catch(({ code }) => {
        if (code === "timeout") this.#lost({ reason: "no answer after the network changed" });
      });
    } else if (this.#timers.has("retry")) {
      if (online) this.#failures = 0;
      const wait = online ? 0 : backoffMs(this.#failures, this.#env.random);
      const reason = online ? "the network is back" : "no network";
      this.#retryIn(Math.max(wait, this.#notBefore - this.#env.now()), { reason });
    }
  }

  /** After a sleep the timers are late: look at the clock instead. */
  checkSilence() {
    if (this.#timers.has("silence") && this.#state === "connected") this.#watchSilence();
  }

  // ---- from one socket to the next ----------------------------------------------------------------------------------

  async #open() {
    const life = ++this.#life;
    this.#state = "connecting";
    this.#after("silence", CONNECT_MS, () => this.#lost({ reason: "no welcome in time" }));
    await undefined; // whoever made the client in this moment shall have added his listeners
    if (life !== this.#life) return;
    this.#setState("connecting", {});
    try {
      // The token first: the hub gives an open connection only a few seconds to show one.
      const token = await this.#freshToken();
      if (life !== this.#life) return;
      const socket = new this.#env.WebSocket(this.#url(), [SUBPROTOCOL]);
      this.#socket = socket;
      const current = () => socket === this.#socket;
      socket.onopen = () => current() && token !== undefined && this.#write({ action: "auth", token });
      socket.onmessage = (/** @type {any} */ event) => current() && this.#receive(event.data);
      socket.onclose = (/** @type {any} */ event) => current() && this.#lost(event);
      socket.onerror = () => {}; // a close follows; some WebSocket classes throw what nobody listens for
    } catch (error) {
      if (life !== this.#life) return;
      this.#on.problem("not_connected", String(error));
      this.#lost({ reason: "no token, or no socket" });
    }
  }

  /** @returns {Promise<string | undefined>} */
  async #freshToken() {
    return typeof this.#token === "function" ? this.#token() : this.#token;
  }

  /**
   * @param {{ code?: number, reason?: string, reconnect?: boolean, retry_after_s?: number }} end
   *   a close event, a `disconnect` frame, or what this side found out
   */
  #lost({ code = 1006, reason = "", reconnect = true, retry_after_s: order = 0 }) {
    const noOtherToken = code === EXPIRED && typeof this.#token === "string";
    if (!reconnect || NO_RETURN.has(code) || noOtherToken) return this.close(reason, code);
    this.#hangUp(reason);
    const orderedMs = order > 0 ? Math.min(order, RETRY_AFTER_MAX_S) * 1000 : 0;
    this.#notBefore = this.#env.now() + orderedMs;
    this.#retryIn(orderedMs + backoffMs(this.#failures++, this.#env.random), { reason, code });
  }

  /** @param {string} reason */
  #hangUp(reason) {
    this.#life++;
    for (const name of this.#timers.keys()) this.#cancel(name);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    // What was sent may or may not have been done: only the caller can know whether to say it again.
    for (const [ref, { sent }] of this.#pending) if (sent) this.#settle(ref, new HubdError("disconnected", reason));
  }

  /** @param {number} ms @param {Why} why */
  #retryIn(ms, why) {
    this.#after("retry", ms, () => this.#open());
    // Tried even while the browser believes it is offline: it may be wrong, and a hub on this machine is always there.
    const state = this.#env.navigator?.onLine === false ? "offline" : "reconnecting";
    this.#setState(state, { ...why, retryAt: this.#env.now() + ms });
  }

  /** @param {State} state @param {Why} why */
  #setState(state, why) {
    this.#state = state;
    this.#on.state(state, { attempt: this.#failures, ...why });
  }

  #watchSilence() {
    const left = this.#silenceMs - (this.#env.now() - this.#heardAt);
    if (left <= 0) this.#lost({ reason: "the hub went silent" });
    else this.#after("silence", Math.min(left, this.#silenceMs), () => this.#watchSilence());
  }

  /** @param {string} name @param {number} ms @param {() => void} run */
  #after(name, ms, run) {
    this.#cancel(name);
    this.#timers.set(name, this.#env.setTimeout(() => { this.#timers.delete(name); run(); }, ms));
  }

  /** @param {string} name */
  #cancel(name) {
    this.#env.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }

  // ---- frames -------------------------------------------------------------------------------------------------------

  /** @param {Frame} frame */
  #write(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  /** At a pace that the hub takes, whatever the application wants at once. */
  #sendWaiting() {
    const now = this.#env.now();
    if (Math.abs(now - this.#second.since) >= 1000) this.#second = { since: now, sent: 0 };
    for (const pending of this.#pending.values()) {
      if (pending.sent) continue;
      if (this.#second.sent >= ACTIONS_PER_S) {
        return this.#after("pace", this.#second.since + 1000 - now, () => this.#sendWaiting());
      }
      this.#second.sent++;
      pending.sent = true;
      this.#write(pending.frame);
    }
  }

  /** @param {string} text */
  #receive(text) {
    this.#heardAt = this.#env.now();
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      frame = null;
    }
    if (frame === null || typeof frame !== "object") return this.#on.problem("bad_frame", "received what is no frame");
    if ("type" in frame) return this.#on.frame(frame);
    switch (frame.hub) {
      case "welcome": return this.#welcomed(frame);
      case "reply": return this.#settle(frame.ref, frame.ok ? frame : refusal(frame));
      case "disconnect": return this.#lost(frame);
      case "token_expiring": this.#renewToken(); break;
      case "ping": this.send({ action: "pong" }); break;
    }
    this.#on.frame(frame);
  }

  /** @param {Frame} frame */
  #welcomed(frame) {
    // A renewed token may be answered with another welcome: the connection goes on as it is.
    if (this.#state === "connected") return;
    this.#cancel("silence");
    this.#silenceMs = frame.ping_s * 1000 + SILENCE_MS;
    if (frame.ping_s > 0) this.#watchSilence();
    this.#after("stable", STABLE_MS, () => { this.#failures = 0; });
    this.#state = "connected";
    this.#on.welcome(frame);
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
    if (typeof this.#token !== "function") return;
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
  return new HubdError(error?.code ?? "refused", error?.message, true);
}
