// @ts-check
/**
 * Each notification is shown once in a browser: by one page that is looked at, or by the service worker. A page claims
 * the id before it shows it; a hidden one waits until it is looked at, for then the worker may have shown it.
 *
 * @typedef {import("./hubd-link.js").Frame} Frame
 * @typedef {import("./hubd-page.js").Env} Env
 *
 * @typedef {object} Showing
 * @property {() => boolean} isVisible
 * @property {() => boolean} isConnected
 * @property {() => boolean} shows whether a listener would show what comes
 * @property {(notification: Frame) => boolean} show false: it wasn't shown after all
 * @property {() => void} renew the browser has ended the push subscription
 */

import { keepNewest } from "./hubd-acks.js";
import "./hubd-shown.js";

/** The part of IndexedDB that pages and the worker share; null where there is none. @param {Env} env @returns {any} */
export function notebookOf({ window, now }) {
  try {
    return window?.indexedDB ? new (/** @type {any} */ (globalThis).hubdShown)(window.indexedDB, now) : null;
  } catch {
    return null; // switched off by the browser
  }
}

export class Once {
  /** Whose notifications these are. */ user = "";
  /** @type {Env} */ #env;
  #notebook;
  #on;
  /** @type {any} */ #channel;
  /** @type {Map<string, Frame>} for when the page is looked at */ #waiting = new Map();
  /** @type {Set<string>} shown elsewhere, or not to be shown any more */ #over = new Set();

  /** @param {Env} env @param {any} notebook @param {Showing} on */
  constructor(env, notebook, on) {
    this.#env = env;
    this.#notebook = notebook;
    this.#on = on;
  }

  /** Hears what the others say. @param {string} user whose notifications these are */
  watch(user = "") {
    this.user = user;
    const { BroadcastChannel } = this.#env.window ?? {};
    if (this.#channel || !BroadcastChannel) return;
    this.#channel = new BroadcastChannel("hubd");
    this.#channel.onmessage = (/** @type {any} */ { data }) => this.#heard(data);
  }

  unwatch() {
    this.#channel?.close();
    this.#channel = undefined;
  }

  /** It is to be shown, here or elsewhere. @param {Frame} notification */
  arrived(notification) {
    if (this.#over.has(notification.id)) return;
    this.#waiting.set(notification.id, notification);
    keepNewest(this.#waiting);
    if (this.#on.isVisible()) this.#take(notification);
  }

  /** A page that is visible shows it without being asked: then the worker needn't. @param {string} id */
  noted(id) {
    if (this.#on.isVisible()) this.#claim(id).then((isFirst) => isFirst && this.#say("shown", id));
  }

  /** The page is looked at. */
  flush() {
    for (const notification of this.#waiting.values()) this.#take(notification);
  }

  /** Seen on another device, or taken back: nobody is to show it any more. @param {any} ids */
  settle(ids) {
    if (!Array.isArray(ids)) return;
    for (const id of ids) this.#drop(id);
    this.closeShown(ids).then((isServed) => isServed && ids.forEach((id) => this.#claim(id)));
  }

  /** @param {Frame} notification */
  async #take(notification) {
    const { id } = notification;
    this.#waiting.delete(id);
    if (!(await this.#claim(id)) || this.#over.has(id)) return;
    this.#over.add(id);
    keepNewest(this.#over);
    if (this.#on.show(notification)) this.#say("shown", id);
    else this.#notebook?.release(id, this.user).catch(() => {});
  }

  /** Without a notebook each page has to go by what it heard. @param {string} id @returns {Promise<boolean>} */
  async #claim(id) {
    try {
      return (await this.#notebook?.claim(id, this.user, "page")) ?? true;
    } catch {
      return true;
    }
  }

  /** @param {any} said by another page, or by the worker */
  #heard({ hubd, id, user }) {
    if (hubd === "renew") return this.#on.renew();
    if (user !== this.user && user !== "") return;
    if (hubd === "shown") this.#drop(id);
    if (hubd !== "whose" || !this.#on.isVisible() || !this.#on.shows()) return;
    // What is here was shown, or will be in a moment; what isn't will come by the connection.
    if (this.#over.has(id) || this.#on.isConnected()) this.#say("mine", id);
  }

  /** @param {string} id */
  #drop(id) {
    this.#waiting.delete(id);
    this.#over.add(id);
    keepNewest(this.#over);
  }

  /** @param {"shown" | "mine"} word @param {string} id */
  #say(word, id) {
    this.#channel?.postMessage({ hubd: word, id, user: this.user });
  }

  /** Takes away what a worker shows of them. @param {string[]} ids @returns {Promise<boolean>} whether there is one */
  async closeShown(ids) {
    try {
      const registrations = (await this.#env.navigator?.serviceWorker?.getRegistrations()) ?? [];
      for (const registration of registrations) {
        for (const shown of await registration.getNotifications()) {
          if (ids.includes(shown.data?.id ?? shown.tag)) shown.close();
        }
      }
      return registrations.length > 0;
    } catch {
      return false; // not allowed here: then nothing is shown either
    }
  }
}
