// @ts-check
/// <reference lib="webworker" />
/**
 * hubd's service worker: shows what is pushed while no page does, and brings people to it.
 *
 * As it is: `navigator.serviceWorker.register("/hubd-sw.js")`. In an application's own worker:
 * `importScripts("/hubd-sw.js")`; what it is to do differently stands in `self.HUBD` before that, or in the address:
 *   hub      where the hub is, if not here: "https://hub.example.com"
 *   origins  which other origins a click may lead to (in the address comma-separated)
 *   icon, badge  images for those that bring none
 *   title    for a push that can't be read
 *
 * Each notification is shown once in this browser, by a page or by this worker (`hubd-shown.js`). It isn't acked by
 * being shown, since a phone that lies in a pocket shows things to nobody; but when it is clicked or dismissed.
 */

/* global importScripts, HubdShown, clients */

(() => {
  const FETCH_MS = 10_000;
  const ACK_KEPT_MS = 86_400_000;
  const WEB = new Set(["http:", "https:"]);
  const worker = /** @type {any} */ (self);
  const address = new URL(worker.location.href);
  const given = worker.HUBD ?? {};
  /** @param {string} name */
  const option = (name) => given[name] ?? address.searchParams.get(name) ?? undefined;
  const hub = new URL(option("hub") ?? "/", address);
  const allowed = new Set([worker.location.origin, ...[option("origins") ?? []].flat().join(",").split(",")]);

  if (!worker.HubdShown) importScripts(new URL("hubd-shown.js", scriptOf(hub)).href);
  const shown = new worker.HubdShown(worker.indexedDB);

  /** Where this script's neighbours are: with the hub, unless it was copied. @param {URL} hub */
  function scriptOf(hub) {
    return given.scripts ? new URL(given.scripts, address) : hub;
  }

  worker.addEventListener("install", (/** @type {any} */ event) => event.waitUntil(worker.skipWaiting()));
  worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(clients.claim()));
  worker.addEventListener("push", (/** @type {any} */ event) => event.waitUntil(pushed(event.data)));
  worker.addEventListener("notificationclick", (/** @type {any} */ event) => {
    event.notification.close();
    event.waitUntil(Promise.all([open(event.notification, event.action), ack(event.notification)]));
  });
  worker.addEventListener("notificationclose", (/** @type {any} */ event) => event.waitUntil(ack(event.notification)));
  worker.addEventListener("pushsubscriptionchange", (/** @type {any} */ event) => event.waitUntil(renew(event)));

  // ---- showing ------------------------------------------------------------------------------------------------------

  /** @param {any} message what the browser was pushed, or null */
  async function pushed(message) {
    sayWaiting();
    const light = read(message);
    if (typeof light.id !== "string") return show(light); // from whoever else has the key: browsers want it shown
    const mine = await shown.claim(light.id);
    if (!mine) return again(light);
    try {
      await show(light.fetch === true ? await whole(light) : light);
    } catch (error) {
      await shown.unclaim(light.id);
      throw error;
    }
    tell({ shown: light.id });
  }

  /** @param {any} message @returns {Record<string, any>} */
  function read(message) {
    try {
      const data = message?.json();
      if (data && typeof data === "object" && !Array.isArray(data)) return data;
    } catch {
      // Not JSON: then it is shown as what it is, a push.
    }
    return { title: option("title") ?? worker.location.host };
  }

  /** The rest of what was too large to be pushed; what there is, if it can't be had. @param {Record<string, any>} light */
  async function whole(light) {
    try {
      const answer = await call("GET", `api/notifications/${encodeURIComponent(light.id)}`, light.hub_capability);
      if (answer.ok) return { ...light, ...(await answer.json()), hub_push: light.hub_push, fetch: undefined };
    } catch {
      // Offline by now: the light one says the most important.
    }
    return light;
  }

  /** @param {Record<string, any>} data */
  function show(data) {
    const own = data.hub_push ?? {};
    const title = own.title ?? text(data.title) ?? text(data.type) ?? worker.location.host;
    return worker.registration.showNotification(title, {
      body: own.body ?? text(data.body) ?? "",
      tag: tagOf(data),
      renotify: own.renotify ?? (own.silent !== true && typeof data.id === "string"),
      icon: own.icon ?? text(data.icon) ?? option("icon"),
      badge: own.badge ?? option("badge"),
      image: own.image ?? text(data.image),
      actions: own.actions?.map(({ action, title, icon }) => ({ action, title, icon })),
      requireInteraction: own.require_interaction ?? data.priority === "critical",
      silent: own.silent ?? null,
      vibrate: own.silent ? undefined : own.vibrate,
      lang: own.lang,
      dir: own.dir,
      timestamp: data.sent_at,
      data,
    });
  }

  /**
   * It was shown already, and the push service or the hub brings it once more. If it still stands there it may stay, so
   * that the browser sees something for its push, without a sound.
   * @param {Record<string, any>} data
   */
  async function again(data) {
    const standing = await worker.registration.getNotifications({ tag: tagOf(data) });
    const same = standing.find((/** @type {any} */ one) => one.data?.id === data.id);
    if (same) await show({ ...same.data, hub_push: { ...same.data.hub_push, silent: true, renotify: false } });
  }

  /** @param {Record<string, any>} data */
  const tagOf = (data) => text(data.hub_tag) ?? text(data.id) ?? "hubd";
  /** @param {unknown} value */
  const text = (value) => (typeof value === "string" && value !== "" ? value : undefined);

  // ---- clicking -----------------------------------------------------------------------------------------------------

  /** To where it leads: to the page that is there already, or a new one. @param {any} notification @param {string} action */
  async function open(notification, action) {
    const data = notification.data ?? {};
    const chosen = data.hub_push?.actions?.find((/** @type {any} */ one) => one.action === action);
    const url = safe(chosen?.url ?? data.url);
    const windows = await clients.matchAll({ type: "window", includeUncontrolled: true });
    const there = windows.find((page) => page.url === url.href);
    const any = there ?? windows.find((page) => new URL(page.url).origin === url.origin);
    if (any) {
      tell({ clicked: data.id, action, url: url.href }, any);
      try {
        const page = await any.focus();
        if (there || (data.url === undefined && !chosen?.url)) return;
        return await page.navigate(url.href);
      } catch {
        // Not to be focused or navigated, as it isn't ours: a new one, then.
      }
    }
    await clients.openWindow(url.href);
  }

  /** Only pages of the web, and only of origins that are meant; anything else leads to the start. @param {unknown} url */
  function safe(url) {
    const start = new URL("/", worker.location.origin);
    try {
      const found = new URL(String(url ?? "/"), worker.location.origin);
      return WEB.has(found.protocol) && allowed.has(found.origin) ? found : start;
    } catch {
      return start;
    }
  }

  // ---- the hub ------------------------------------------------------------------------------------------------------

  /** @param {string} method @param {string} path @param {string | undefined} capability @param {any} [body] */
  function call(method, path, capability, body) {
    const headers = {
      Accept: "application/json",
      ...(capability && { Authorization: `Bearer ${capability}` }),
      ...(body && { "Content-Type": "application/json" }),
    };
    return fetch(new URL(path, hub), {
      method, headers, body: body && JSON.stringify(body), keepalive: Boolean(body), cache: "no-store",
      credentials: capability ? "omit" : "include", redirect: "error", signal: AbortSignal.timeout(FETCH_MS),
    });
  }

  /** The person has seen it. Kept until the hub has taken it: the next push or click says it again. @param {any} notification */
  async function ack({ data }) {
    if (typeof data?.id !== "string" || typeof data.hub_capability !== "string") return;
    await shown.keepAck({ id: data.id, capability: data.hub_capability, url: hub.href, at: Date.now() });
    await sayWaiting();
    tell({ seen: data.id });
  }

  async function sayWaiting() {
    for (const { id, capability, at } of await shown.waitingAcks()) {
      try {
        const answer = await call("POST", "api/acks", capability, { ids: [id] });
        const isOver = answer.ok || (answer.status >= 400 && answer.status < 500 && answer.status !== 429);
        if (isOver || Date.now() - at > ACK_KEPT_MS) await shown.dropAck(id);
      } catch {
        return; // offline: later
      }
    }
  }

  /**
   * The browser has another subscription for this worker. A page has told where and as whom the last one was
   * registered; a hub that knows people by a cookie takes it from here, others from the next page that is opened.
   * @param {any} event
   */
  async function renew(event) {
    const key = event.oldSubscription?.options.applicationServerKey ?? (await shown.setting("push"))?.key;
    const subscription = event.newSubscription ?? (key && (await worker.registration.pushManager.subscribe({
      userVisibleOnly: true, applicationServerKey: key,
    })));
    await shown.set("push", { ...(await shown.setting("push")), registeredAt: 0 });
    tell({ renew: true });
    if (subscription) await call("POST", "api/push-subscriptions", undefined, subscription.toJSON()).catch(() => {});
  }

  /** @param {Record<string, any>} what @param {any} [page] one page; without, all */
  async function tell(what, page) {
    const pages = page ? [page] : await clients.matchAll({ type: "window", includeUncontrolled: true });
    for (const one of pages) one.postMessage({ hubd: what });
  }
})();
