// @ts-check
/**
 * hubd's service worker: shows what is pushed while no page is looked at, once over all pages and itself.
 *
 * As it is: `hub.push.enable()` registers it. Or inside the application's own worker, which may configure it first:
 *
 *     self.hubdWorker = { origins: ["https://shop.example.com"], icon: "/icon-192.png" };
 *     importScripts("/hubd-sw.js");
 *
 * Configuration, each also as a parameter of the worker's address (`/hubd-sw.js?start=/inbox`):
 *   hub      where the hub's `api/` and `hubd-shown.js` are (default: beside the worker)
 *   origins  where a click may lead besides the worker's own origin
 *   start    what a click opens that leads nowhere (default: the worker's scope)
 *   title    of what has none (default: the host); icon, badge: pictures for what has none
 *
 * @typedef {Record<string, any>} Pushed as the hub pushes it, with its own hub_capability, hub_tag, hub_push
 * @typedef {{ hub?: string, origins?: string[], start?: string, title?: string, icon?: string, badge?: string }} Config
 */
(() => {
  "use strict";

  const ANSWER_MS = 10_000;
  const ASK_MS = 250; //          for a visible page to say that it will show it
  const PAGE_MS = 3_000; //       for that page to do so
  const CHANNEL = "hubd";
  const SYNC = "hubd-acks";
  const GENERIC = "You have a new notification";

  /** @param {any} value @returns {string | undefined} */
  const text = (value) => (typeof value === "string" && value !== "" ? value : undefined);

  class HubdWorker {
    #scope;
    #hub;
    /** @type {Config} */ #config;
    #shown;
    #channel;

    /** @param {any} scope a ServiceWorkerGlobalScope */
    constructor(scope) {
      this.#scope = scope;
      const asked = new URL(scope.location.href).searchParams;
      const { origins, ...words } = Object.fromEntries(asked);
      this.#config = { ...words, ...(origins && { origins: origins.split(",") }), ...scope.hubdWorker };
      this.#hub = new URL(this.#config.hub ?? "./", scope.location.href);
      if (!scope.hubdShown) scope.importScripts(new URL("hubd-shown.js", this.#hub).href);
      this.#shown = new scope.hubdShown(scope.indexedDB);
      this.#channel = scope.BroadcastChannel && new scope.BroadcastChannel(CHANNEL);
    }

    listen() {
      const scope = this.#scope;
      /** @type {Record<string, (event: any) => any>} */
      const handlers = {
        push: (event) => Promise.all([this.#pushed(event.data), this.#sayKept()]),
        notificationclick: (event) => this.#clicked(event),
        notificationclose: ({ notification }) => this.#ack(notification.data),
        pushsubscriptionchange: (event) => this.#renew(event),
        sync: ({ tag }) => (tag === SYNC ? this.#sayKept() : undefined),
      };
      for (const [type, handle] of Object.entries(handlers)) {
        scope.addEventListener(type, (/** @type {any} */ event) => event.waitUntil(handle(event)));
      }
      if (scope.hubdWorker || !/\/hubd-sw\.js$/.test(scope.location.pathname)) return; // the application's own decides
      scope.addEventListener("install", () => scope.skipWaiting());
      scope.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(scope.clients.claim()));
    }

    /** @param {any} data */
    async #pushed(data) {
      const light = parse(data);
      const { id } = light;
      if (text(id) === undefined) return this.#show({ body: GENERIC, tag: "hubd" }); // browsers want something shown
      const user = await this.#shown.get("registration").then((/** @type {any} */ one) => one?.user ?? "", () => "");
      const isShown = await this.#shown.has(id, user).catch(() => false); // without a notebook rather twice than never
      if (isShown) return;
      await this.#leaveToPage(id, user);
      const notification = light.fetch === true ? await this.#fetched(light) : light;
      if (!(await this.#shown.claim(id, user, "worker").catch(() => true))) return;
      try {
        await this.#show(notification);
      } catch (error) {
        await this.#shown.release(id, user).catch(() => {});
        throw error;
      }
      this.#channel?.postMessage({ hubd: "shown", id, user });
    }

    /**
     * A page that is looked at shows it itself. Comes back when it has, or when it doesn't.
     * @param {string} id @param {string} user
     */
    async #leaveToPage(id, user) {
      const pages = await this.#scope.clients.matchAll({ type: "window", includeUncontrolled: true });
      const isLookedAt = pages.some((/** @type {any} */ { visibilityState }) => visibilityState === "visible");
      if (!isLookedAt || !this.#channel) return;
      if (await this.#heard(id, ["mine", "shown"], ASK_MS, { hubd: "whose", id, user }) !== "mine") return;
      await this.#heard(id, ["shown"], PAGE_MS);
    }

    /**
     * The first of these words about an id, said by a page within that time.
     * @param {string} id @param {string[]} words @param {number} ms @param {any} [question]
     * @returns {Promise<string | undefined>}
     */
    #heard(id, words, ms, question) {
      return new Promise((resolve) => {
        const end = (/** @type {string | undefined} */ word) => {
          this.#scope.clearTimeout(timer);
          this.#channel.removeEventListener("message", hear);
          resolve(word);
        };
        const hear = (/** @type {any} */ { data }) => {
          if (data?.id === id && words.includes(data.hubd)) end(data.hubd);
        };
        const timer = this.#scope.setTimeout(() => end(undefined), ms);
        this.#channel.addEventListener("message", hear);
        if (question) this.#channel.postMessage(question);
      });
    }

    /** The whole of it; the light one where that can't be had. @param {Pushed} light */
    async #fetched(light) {
      const { id, hub_capability, hub_tag, hub_push } = light;
      try {
        const whole = await this.#call("GET", `notifications/${encodeURIComponent(id)}`, { capability: hub_capability });
        return whole.ok ? { ...light, ...whole.json(), id, hub_capability, hub_tag, hub_push } : light;
      } catch {
        return light;
      }
    }

    /** @param {Pushed} notification */
    #show(notification) {
      const { id, url, hub_tag, hub_capability, hub_push } = notification;
      const own = isMap(hub_push) ? hub_push : {};
      const config = this.#config;
      const actions = (Array.isArray(own.actions) ? own.actions : []).filter(isMap);
      const title = text(own.title) ?? text(notification.title) ?? config.title ?? this.#scope.location.host;
      const options = {
        body: text(own.body) ?? text(notification.body),
        tag: text(hub_tag) ?? id ?? notification.tag,
        renotify: own.renotify ?? text(hub_tag) !== undefined,
        icon: this.#picture(own.icon) ?? this.#picture(notification.icon) ?? config.icon,
        image: this.#picture(own.image),
        badge: this.#picture(own.badge) ?? config.badge,
        actions: actions.map((/** @type {any} */ one) => {
          return without({ action: one.action, title: one.title, icon: this.#picture(one.icon) });
        }),
        requireInteraction: own.require_interaction ?? notification.priority === "critical",
        silent: own.silent,
        vibrate: own.silent ? undefined : own.vibrate, // both are refused
        lang: own.lang,
        dir: own.dir,
        timestamp: Number.isFinite(notification.sent_at) ? notification.sent_at : undefined,
        data: {
          id, url, capability: hub_capability,
          actions: Object.fromEntries(actions.map((/** @type {any} */ { action, url: leads }) => [action, leads])),
        },
      };
      return this.#scope.registration.showNotification(title, without(options));
    }

    /** @param {any} event */
    async #clicked({ action, notification }) {
      notification.close();
      const data = notification.data ?? {};
      const target = this.#target(action ? data.actions?.[action] : data.url);
      await Promise.all([this.#open(target), this.#ack(data), this.#sayKept()]);
    }

    /** Focuses the page that is there, or opens one. @param {string | undefined} target */
    async #open(target) {
      const { clients, registration } = this.#scope;
      const pages = await clients.matchAll({ type: "window", includeUncontrolled: true });
      const bare = (/** @type {string} */ url) => url.split("#")[0];
      const found = target === undefined ? pages[0]
        : pages.find((/** @type {any} */ { url }) => bare(url) === bare(target));
      try {
        if (found) return await found.focus();
      } catch {
        // It may refuse; a new one is better than nothing.
      }
      const start = this.#target(this.#config.start) ?? registration.scope;
      await clients.openWindow(target ?? start).catch(() => {});
    }

    /** Where it may lead. @param {any} url @returns {string | undefined} */
    #target(url) {
      const { origin, protocol, href } = this.#resolved(url) ?? {};
      if (origin === undefined || !/^https?:$/.test(protocol ?? "")) return undefined;
      return origin === this.#scope.location.origin || this.#config.origins?.includes(origin) ? href : undefined;
    }

    /** @param {any} url @returns {string | undefined} */
    #picture(url) {
      const resolved = this.#resolved(url);
      return resolved && /^https?:$/.test(resolved.protocol) ? resolved.href : undefined;
    }

    /** @param {any} url @returns {URL | undefined} */
    #resolved(url) {
      try {
        return text(url) === undefined ? undefined : new URL(url, this.#scope.location.origin);
      } catch {
        return undefined;
      }
    }

    // ---- acks -------------------------------------------------------------------------------------------------------

    /** Clicked or dismissed: a person has seen it. @param {any} data */
    async #ack({ id, capability } = /** @type {any} */ ({})) {
      if (text(id) !== undefined && text(capability) !== undefined) await this.#say(id, capability);
    }

    /** @param {string} id @param {string} capability */
    async #say(id, capability) {
      if (await this.#isSaid(id, capability)) return;
      await this.#shown.keepAck(id, capability).catch(() => {});
      await this.#scope.registration.sync?.register(SYNC).catch(() => {});
    }

    /** Those that couldn't be said when they came up. */
    async #sayKept() {
      const kept = await this.#shown.keptAcks().catch(() => []);
      for (const { id, capability } of kept) {
        if (await this.#isSaid(id, capability)) await this.#shown.dropAck(id).catch(() => {});
      }
    }

    /** False where trying again may help. @param {string} id @param {string} capability */
    async #isSaid(id, capability) {
      try {
        const { status } = await this.#call("POST", "acks", { capability, body: { ids: [id] } });
        return status < 500 && status !== 429 && status !== 408;
      } catch {
        return false;
      }
    }

    // ---- the subscription -------------------------------------------------------------------------------------------

    /** The browser has ended the subscription: a new one, for the same user. @param {any} event */
    async #renew({ newSubscription, oldSubscription }) {
      const registration = await this.#shown.get("registration").catch(() => undefined);
      const key = oldSubscription?.options?.applicationServerKey ?? registration?.key;
      const { pushManager } = this.#scope.registration;
      try {
        const options = { userVisibleOnly: true, applicationServerKey: key };
        const subscription = newSubscription ?? await pushManager.subscribe(options);
        const body = { ...subscription.toJSON(), applicationServerKey: registration?.key };
        if ((await this.#call("POST", "push-subscriptions", { body })).ok) return; // it knows people by their cookie
      } catch {
        // A page can do it.
      }
      await this.#shown.set("renew", true).catch(() => {});
      this.#channel?.postMessage({ hubd: "renew" });
    }

    /**
     * The answer, body and all. Without a capability it goes with the page's cookies.
     * @param {string} method @param {string} path @param {{ capability?: string, body?: any }} more
     */
    async #call(method, path, { capability, body }) {
      const limit = new AbortController();
      const timer = this.#scope.setTimeout(() => limit.abort(), ANSWER_MS);
      try {
        const answer = await this.#scope.fetch(new URL(`api/${path}`, this.#hub).href, {
          method, body: body && JSON.stringify(body), keepalive: body !== undefined, signal: limit.signal,
          headers: {
            ...(capability && { Authorization: `Bearer ${capability}` }),
            ...(body && { "Content-Type": "application/json" }),
          },
          cache: "no-store", credentials: capability ? "omit" : "include", redirect: "error",
        });
        const text = await answer.text();
        return { ok: answer.ok, status: answer.status, json: () => JSON.parse(text) };
      } finally {
        this.#scope.clearTimeout(timer);
      }
    }
  }

  /** @param {any} value */
  const isMap = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

  /** @param {any} data @returns {Pushed} what can't be read is empty */
  const parse = (data) => {
    try {
      const parsed = data.json();
      return isMap(parsed) ? parsed : {};
    } catch {
      return {};
    }
  };

  /** Leaves out what isn't there; browsers take undefined for a text. @param {Record<string, any>} options */
  const without = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

  const here = /** @type {any} */ (globalThis);
  here.HubdWorker = HubdWorker;
  if (typeof here.ServiceWorkerGlobalScope === "function" && here instanceof here.ServiceWorkerGlobalScope) {
    new HubdWorker(here).listen();
  }
})();
