// @ts-check
/**
 * Notifications while no page is open: asks for the permission, has the browser subscribe at its push service, and
 * tells the hub. What was enabled is renewed by itself: when the hub has another key, once a day, and for another user.
 *
 *     button.onclick = () => hub.push.enable();
 *
 * @typedef {import("./hubd-page.js").Env} Env
 * @typedef {import("./hubd-connection.js").Token} Token
 * @typedef {"on" | "off" | "other_user" | "denied" | "unsupported" | "not_on_this_hub"} PushState
 *   off: not asked for yet; other_user: this browser gets another user's; denied: by the person, or his browser;
 *   unsupported: the browser can't; not_on_this_hub: the hub can't
 *
 * @typedef {object} PushOptions
 * @property {string} [worker] address of the service worker (default: `hubd-sw.js` beside the hub)
 * @property {string} [scope] the pages that it serves (default: those beside and below it)
 * @property {boolean} [follow] of several users of a browser the one who connected last is pushed to (default: true);
 *   false: only the one who called `enable`
 *
 * @typedef {object} Surroundings
 * @property {Env} env
 * @property {any} notebook
 * @property {(path: string) => string} api
 * @property {Token} [token]
 * @property {(type: string, detail: any) => void} emit
 */

import { HubdError } from "./hubd-connection.js";

const DAY_MS = 86_400_000;
const ANSWER_MS = 10_000;
const REASONS = {
  unsupported: "this browser has no Web Push here (it needs https or localhost; on an iPhone or iPad the page has to be"
    + " added to the home screen first)",
  not_on_this_hub: "this hub sends no Web Push: its plugin webpush is off",
  denied: "notifications from this page are blocked; the browser's settings for this site can allow them",
  dismissed: "the question whether to allow notifications wasn't answered",
  no_gesture: "browsers let a page ask for notifications only when somebody has just clicked",
  not_connected: "connect first: the hub has to know whose browser this is",
};

/** @param {keyof typeof REASONS} code */
const refused = (code) => new HubdError(code, REASONS[code], true);

export class Push {
  #of;
  #options;
  /** @type {PushState} */ #state;
  #user = "";
  /** @type {string | null | undefined} null: the hub has none */ #key;
  #isLooked = false;
  /** @type {Promise<any>} */ #turn = Promise.resolve();

  /** @param {Surroundings} of @param {PushOptions} [options] */
  constructor(of, options = {}) {
    this.#of = of;
    this.#options = options;
    this.#state = this.#isSupported ? "off" : "unsupported";
  }

  /** How things are, for a switch on the page; known once the hub has answered. @returns {PushState} */
  get state() {
    return this.#state;
  }

  /**
   * Has the hub push to this browser, for the user who is connected. To be called where somebody has just clicked,
   * since the browser may ask him.
   * @returns {Promise<string>} the device's id
   * @throws {HubdError} `unsupported`, `not_on_this_hub`, `denied`, `dismissed`, `no_gesture`, `not_connected`, or what
   *   the hub answered
   */
  async enable() {
    if (!this.#isSupported) throw refused("unsupported");
    if (this.#key === null) throw refused("not_on_this_hub");
    if (this.#user === "") throw refused("not_connected");
    await this.#ask(); // before anything else is waited for: browsers forget the click
    return this.#inTurn(() => this.#register());
  }

  /** Ends that, for whomever it was. What the hub can't be told now, it finds out at the next push. */
  async disable() {
    if (!this.#isSupported) return;
    await this.#inTurn(async () => {
      const registration = await this.#known();
      await this.#of.notebook.set("registration", undefined);
      await (await this.#subscription())?.unsubscribe();
      this.#turnTo("off");
      if (registration) await this.#call("DELETE", `devices/${registration.id}`).catch(unlessMissing);
    });
  }

  /** The hub has told who this is: is what was enabled still so? @param {string} user */
  welcomed(user) {
    const isLooked = this.#isLooked && this.#user === user;
    this.#user = user;
    if (!isLooked) this.renew(user);
  }

  /** The browser may have ended the subscription. @param {string} user */
  async renew(user) {
    if (!this.#isSupported || !user) return;
    try {
      await this.#inTurn(() => this.#renew());
      this.#isLooked = true;
    } catch (/** @type {any} */ error) { // the next connection tries it again
      this.#of.emit("error", { code: error.code ?? "push_failed", message: String(error.message) });
    }
  }

  async #renew() {
    const key = await this.#hubsKey();
    if (key === null) return this.#turnTo("not_on_this_hub");
    const registration = await this.#known();
    if (this.#permission === "denied") return this.#turnTo("denied");
    if (!registration || this.#permission !== "granted") return this.#turnTo("off");
    const isOther = registration.user !== this.#user;
    if (isOther && this.#options.follow === false) return this.#turnTo("other_user");
    const subscription = await this.#subscription();
    const isOld = Math.abs(this.#of.env.now() - registration.at) > DAY_MS;
    const isSame = subscription?.endpoint === registration.endpoint && isFor(subscription, key, registration);
    if (isOther || isOld || !isSame || (await this.#of.notebook.get("renew"))) await this.#register();
    this.#turnTo("on");
  }

  async #register() {
    const key = await this.#hubsKey();
    if (key === null) throw refused("not_on_this_hub");
    const { serviceWorker } = this.#of.env.navigator;
    const { scope } = this.#options;
    const how = { updateViaCache: "none", ...(scope && { scope }) };
    const registration = await serviceWorker.register(this.#worker, how);
    await this.#active(registration);
    let subscription = await registration.pushManager.getSubscription();
    if (subscription && !isFor(subscription, key, await this.#known())) {
      await subscription.unsubscribe(); // a browser has one subscription, with one key
      subscription = null;
    }
    subscription ??= await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    const { endpoint } = subscription;
    const [user, at] = [this.#user, this.#of.env.now()];
    const told = { ...subscription.toJSON(), applicationServerKey: key };
    const { id } = await this.#call("POST", "push-subscriptions", told);
    await this.#of.notebook.set("registration", { id, user, at, endpoint, key });
    await this.#of.notebook.set("renew", undefined);
    this.#turnTo("on");
    return id;
  }

  /** A worker that was only just registered can't subscribe yet. @param {any} registration */
  #active(registration) {
    const coming = registration.active ? undefined : registration.installing ?? registration.waiting;
    if (!coming) return;
    return new Promise((resolve, reject) => {
      const look = () => {
        if (coming.state === "activated") resolve(undefined);
        if (coming.state === "redundant") reject(new HubdError("unsupported", "the service worker didn't start", true));
      };
      coming.addEventListener("statechange", look);
      look();
    });
  }

  async #ask() {
    const { Notification } = this.#of.env.window;
    const { userActivation } = this.#of.env.navigator;
    if (this.#permission === "default" && userActivation && !userActivation.isActive) throw refused("no_gesture");
    if (this.#permission === "default") await Notification.requestPermission();
    if (this.#permission === "denied") this.#turnTo("denied");
    if (this.#permission === "denied") throw refused("denied");
    if (this.#permission !== "granted") throw refused("dismissed");
  }

  get #isSupported() {
    const { window, navigator } = this.#of.env;
    return Boolean(navigator?.serviceWorker && window?.PushManager && window?.Notification && this.#of.notebook);
  }

  get #permission() {
    return this.#of.env.window.Notification.permission;
  }

  /** What was enabled in this browser, by whichever page. @returns {Promise<any>} */
  async #known() {
    return this.#of.notebook.get("registration").catch(() => undefined);
  }

  async #subscription() {
    const scope = new URL(this.#options.scope ?? ".", this.#options.scope ? this.#page : this.#worker);
    const registration = await this.#of.env.navigator.serviceWorker.getRegistration(scope.href);
    return (await registration?.pushManager.getSubscription()) ?? null;
  }

  /** Beside the hub, if that is at the page's own origin: workers have to be. */
  get #worker() {
    const beside = new URL("../hubd-sw.js", new URL(this.#of.api("")));
    beside.search = "";
    const own = this.#options.worker ?? (beside.origin === new URL(this.#page).origin ? beside.href : "/hubd-sw.js");
    return new URL(own, this.#page).href;
  }

  get #page() {
    return this.#of.env.window.location.href;
  }

  /** The key that the hub's pushes are signed with. @returns {Promise<string | null>} null: it sends none */
  async #hubsKey() {
    if (this.#key !== undefined) return this.#key;
    try {
      this.#key = String((await this.#call("GET", "push/vapid-public-key")).key);
    } catch (error) {
      unlessMissing(error);
      this.#key = null;
    }
    return this.#key;
  }

  /** @param {PushState} state */
  #turnTo(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#of.emit("push", { state });
  }

  /** @template T @param {() => Promise<T>} work @returns {Promise<T>} */
  #inTurn(work) {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {});
    return done;
  }

  /** @param {string} method @param {string} path @param {any} [body] @returns {Promise<any>} */
  async #call(method, path, body) {
    const { env, api, token } = this.#of;
    const limit = new AbortController();
    const timer = env.setTimeout(() => limit.abort(), ANSWER_MS);
    try {
      const bearer = typeof token === "function" ? await token() : token;
      const answer = await env.fetch(api(path), {
        method, body: body && JSON.stringify(body), signal: limit.signal,
        headers: {
          ...(bearer !== undefined && { Authorization: `Bearer ${bearer}` }),
          ...(body && { "Content-Type": "application/json" }),
        },
        cache: "no-store", credentials: "include", redirect: "error",
      });
      if (answer.ok) return answer.status === 204 ? {} : await answer.json();
      const problem = await answer.json().catch(() => ({}));
      const code = problem.code ?? (answer.status === 404 ? "not_found" : "unavailable");
      throw new HubdError(code, problem.detail ?? `HTTP ${answer.status}`, answer.status < 500);
    } catch (error) {
      throw error instanceof HubdError ? error : new HubdError("disconnected", String(error));
    } finally {
      env.clearTimeout(timer);
    }
  }
}

/** @param {unknown} error */
function unlessMissing(error) {
  if (!(error instanceof HubdError) || error.code !== "not_found") throw error;
}

/**
 * Whether a subscription was made with this key. Not all browsers tell; then by what was noted at that time.
 * @param {any} subscription @param {string} key @param {any} registration
 */
function isFor(subscription, key, registration) {
  const has = subscription.options?.applicationServerKey;
  if (!has) return registration?.key === key;
  const text = btoa(String.fromCharCode(...new Uint8Array(has)));
  return text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "") === key.replace(/=+$/, "");
}
