// @ts-check
/** Alerts: shown for some seconds, and for as long as somebody points at them. Critical ones stay until dismissed. */

import { make, part } from "./dom.js";
import { words } from "./feed.js";

const SHOWN_MS = 7_000;
const AT_ONCE = 3;

export class Toasts {
  #place = part("toasts");

  /** @param {Record<string, any>} notification @param {boolean} replayed */
  show(notification, replayed) {
    const { title, text } = words(notification);
    const { id, from, priority = "important" } = notification;
    const close = make("button", { type: "button", class: "close", "aria-label": `Dismiss: ${title}` }, "×");
    const toast = make("div", { class: `toast ${priority}`, "data-testid": "toast", "data-id": id },
      make("div", { class: "words" },
        make("b", {}, title),
        text ? make("p", {}, text) : null,
        make("small", {}, `from ${from ?? "the server"}${replayed ? " · replayed" : ""}`)),
      close);
    if (priority === "critical") toast.setAttribute("role", "alert");
    close.addEventListener("click", () => toast.remove());
    this.#place.append(toast);
    while (this.#place.children.length > AT_ONCE) this.#leastWanted().remove();
    if (priority !== "critical") this.#leaveLater(toast);
  }

  /** Seen elsewhere, or taken back. @param {string[]} ids */
  drop(ids) {
    for (const toast of [...this.#place.children]) if (ids.includes(toast.dataset.id)) toast.remove();
  }

  clear() {
    this.#place.replaceChildren();
  }

  /** The oldest, but no critical one while there are others. @returns {Element} */
  #leastWanted() {
    return this.#place.querySelector(".toast:not(.critical)") ?? this.#place.firstElementChild;
  }

  /** @param {HTMLElement} toast */
  #leaveLater(toast) {
    const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 1_000) : toast.remove());
    setTimeout(leave, SHOWN_MS);
  }
}
