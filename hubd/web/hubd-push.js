// @ts-check
/**
 * Notifications while no page is open: a service worker, the person's permission, and a subscription that the hub knows.
 *
 *     button.onclick = () => hub.push.enable();
 *
 * What it remembers for this browser lies beside what was shown (`hubd-shown.js`).
 *
 * @typedef {import("./hubd-page.js").Env} Env
 * @typedef {import("./hubd-connection.js").Token} Token
 * @typedef {"unsupported" | "off" | "denied" | "on"} PushState
 * @typedef {{ key: string, user: string, id: string, registeredAt: number }} Remembered
 */

import { HubdError } from "./hubd-connection.js";

const AGAIN_MS = 86_400_000; // what is registered is registered anew once a day: the hub may have lost or moved it
const ANSWER_MS = 10_000;
const WORKER = "/hubd-sw.js";

export class Push {
  #env;
  #api;
  #token;
  #shown;
  #changed;
  /** @type {PushState} */ #state;
  #user = "";

  /**
   * @param {{ env: Env, api: (path: string) => string, token?: Token, shown: any, changed: (state: PushState) => void }} parts
   */
  constructor({ env, api, token, shown, changed }) {
    this.#env = env;
    this.#api = api;
    this.#token = token;
    this.#shown = shown;
    this.#changed = changed;
    this.#state = this.#isSupported ? "off" : "unsupported";
    this.#listen();
  }

  /** `unsupported` by this browser (or not over https), `off`, `denied` by the person, or `on`. */
  get state() { return this.#state; }

  get #isSupported() {
    const { window, navigator } = this.#env;
    return Boolean(navigator?.serviceWorker && window?.PushManager && window?.Notification);
  }

  /**
   * Asks the person, if he wasn't asked yet (browsers want that to be in a click), and registers this browser.
   * A `HubdError` says why not: `unsupported`, `denied`, `no_push` (this hub doesn't do Web Push), or what the hub said.
   * @param {{ worker?: string, scope?: string }} [options] another worker than hubd's
   */
  async enable({ worker = WORKER, scope } = {}) {
    const { window, navigator } = this.#env;
    if (!this.#isSupported) throw new HubdError("unsupported", "this browser can't be notified here (it needs https)");
    // First of all, while the click still counts.
    const permission = await window.Notification.requestPermission();
    if (permission !== "granted") {
      this.#turn(permission === "denied" ? "denied" : "off");
      throw new HubdError("denied", "notifications are not allowed for this page");
    }
    await navigator.serviceWorker.register(worker, { scope, updateViaCache: "none" });
    await this.#subscribe(await navigator.serviceWorker.ready, await this.#publicKey());
  }

  /** This browser isn't notified any more, whoever is logged in. */
  async disable() {
    const before = await this.#remembered();
    await this.#shown.set("push", undefined);
    const registration = await this.#registration();
    await (await registration?.pushManager.getSubscription())?.unsubscribe();
    this.#turn("off");
    if (before?.id) await this.#call("DELETE", `devices/${before.id}`).catch(ignoreMissing);
  }

  /** The hub has told who this is. What was turned on before is brought up to date. @param {string} user */
  async welcomed(user) {
    this.#user = user;
    if (!this.#isSupported) return;
    try {
      const before = await this.#remembered();
      if (!before) return this.#look();
      const registration = await this.#registration();
      if (!registration || this.#env.window.Notification.permission !== "granted") return this.#look();
      const key = await this.#publicKey();
      const isFresh = Math.abs(this.#env.now() - before.registeredAt) < AGAIN_MS;
      const isSame = before.key === key && before.user === user && isFresh;
      if (isSame && await registration.pushManager.getSubscription()) return this.#turn("on");
      await this.#subscribe(registration, key);
    } catch {
      this.#look(); // the next connection tries it again
    }
  }

  /** Seen here or elsewhere, or taken back: what the worker shows of it goes. @param {unknown} ids */
  async takeAway(ids) {
    if (!Array.isArray(ids) || !this.#isSupported || this.#env.window.Notification.permission !== "granted") return;
    const standing = (await (await this.#registration())?.getNotifications?.()) ?? [];
    for (const one of standing) if (ids.includes(one.data?.id)) one.close();
  }

  #look() {
    this.#turn(this.#env.window.Notification.permission === "denied" ? "denied" : "off");
  }

  #listen() {
    if (!this.#isSupported) return;
    this.#env.navigator.serviceWorker.addEventListener("message", (/** @type {any} */ { data }) => {
      if (data?.hubd?.renew && this.#user) this.welcomed(this.#user);
    });
  }

  /** @param {any} registration @param {string} key */
  async #subscribe(registration, key) {
    const manager = registration.pushManager;
    const old = await manager.getSubscription();
    if (old && base64url(old.options?.applicationServerKey) !== key) await old.unsubscribe(); // the hub has another key
    const subscription = await manager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes(key) });
    const { id } = await this.#call("POST", "push-subscriptions", { ...subscription.toJSON(), applicationServerKey: key });
    /** @type {Remembered} */
    const remembered = { key, user: this.#user, id, registeredAt: this.#env.now() };
    await this.#shown.set("push", remembered);
    this.#turn("on");
  }

  /** @returns {Promise<string>} */
  async #publicKey() {
    try {
      return (await this.#call("GET", "push/vapid-public-key")).key;
    } catch (error) {
      const isMissing = error instanceof HubdError && error.code === "not_found";
      throw isMissing ? new HubdError("no_push", "this hub doesn't do Web Push ([plugins.webpush])") : error;
    }
  }

  /** @returns {Promise<Remembered | undefined>} */
  #remembered() {
    return this.#shown.setting("push");
  }

  /** The worker's, which may lie in another scope than the page. */
  async #registration() {
    const { serviceWorker } = this.#env.navigator;
    return (await serviceWorker.getRegistration()) ?? (await serviceWorker.getRegistrations())[0];
  }

  /** @param {string} method @param {string} path @param {any} [body] @returns {Promise<any>} */
  async #call(method, path, body) {
    const token = typeof this.#token === "function" ? await this.#token() : this.#token;
    const stop = new AbortController();
    const timer = this.#env.setTimeout(() => stop.abort(), ANSWER_MS);
    try {
      const answer = await this.#env.fetch(this.#api(path), {
        method, body: body && JSON.stringify(body), signal: stop.signal, cache: "no-store", credentials: "include",
        headers: {
          Accept: "application/json",
          ...(token !== undefined && { Authorization: `Bearer ${token}` }),
          ...(body && { "Content-Type": "application/json" }),
        },
      });
      if (answer.ok) return answer.status === 204 ? {} : await answer.json();
      const problem = await answer.json().catch(() => ({}));
      throw new HubdError(problem.code ?? "unavailable", problem.detail ?? `HTTP ${answer.status}`);
    } catch (error) {
      throw error instanceof HubdError ? error : new HubdError("disconnected", String(error));
    } finally {
      this.#env.clearTimeout(timer);
    }
  }

  /** @param {PushState} state */
  #turn(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#changed(state);
  }
}

/** @param {unknown} error */
function ignoreMissing(error) {
  if (!(error instanceof HubdError) || error.code !== "not_found") throw error;
}

/** @param {string} text @returns {Uint8Array<ArrayBuffer>} */
function bytes(text) {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (letter) => letter.charCodeAt(0));
}

/** @param {ArrayBuffer | null | undefined} buffer */
function base64url(buffer) {
  const plain = btoa(String.fromCharCode(...new Uint8Array(buffer ?? new ArrayBuffer(0))));
  return plain.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
