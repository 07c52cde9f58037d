// @ts-check
/** The feed: what came, newest first, and honest lines where something is missing. */

import { avatar, make, part, safeUrl, timeOfDay } from "./dom.js";

const KEPT = 200;
const HUBS_OWN = new Set(["id", "type", "channel", "priority", "sent_at", "cursor", "from", "url", "icon"]);

const GAPS = {
  evicted: "older ones had to make room before you came back",
  epoch: "the hub was started anew, and does not know what you had seen",
  bad_cursor: "the hub does not know the cursor you came with",
};

/** @typedef {Record<string, any>} Notification */

/**
 * Title and text of any notification, whatever its application calls them.
 * @param {Notification} notification @returns {{ title: string, text: string }}
 */
export function words(notification) {
  const item = notification.item ?? {};
  const told = typeof item === "object" ? { ...item, ...notification } : { ...notification, title: item };
  const title = told.title ?? told.message ?? notification.type;
  const text = told.body ?? told.text ?? (told.title || told.message ? "" : leftOver(notification));
  return { title: asText(title), text: asText(text) };
}

/** @param {unknown} value */
const asText = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** @param {Notification} notification */
function leftOver(notification) {
  const rest = Object.entries(notification).filter(([key]) => !HUBS_OWN.has(key));
  return rest.length ? JSON.stringify(Object.fromEntries(rest)) : "";
}

/** @param {string} channel */
function shortChannel(channel) {
  if (channel === "notifications") return "everybody";
  return channel.startsWith("user:") ? "you" : `#${channel}`;
}

/** @param {Notification} notification @param {boolean} replayed @param {string} key @returns {HTMLElement} */
function entry(notification, replayed, key) {
  const { title, text } = words(notification);
  const href = safeUrl(notification.url);
  const { from, priority = "important", sent_at: sentAt = Date.now() } = notification;
  const tag = (/** @type {string} */ kind, /** @type {string} */ word) => make("span", { class: `tag ${kind}` }, word);
  return make("li", { class: `entry ${priority}`, "data-testid": "feed-item", "data-id": key },
    from ? avatar(from) : make("span", { class: "avatar hub", "aria-hidden": "true" }, "h"),
    make("div", { class: "words" },
      make("div", { class: "first" },
        make("b", {}, title),
        make("time", { datetime: new Date(sentAt).toISOString() }, timeOfDay(sentAt))),
      text ? make("p", {}, text) : null,
      make("div", { class: "tags" },
        make("span", { class: "route" }, `${from ?? "server"} → ${shortChannel(notification.channel ?? "")}`),
        tag("type", notification.type),
        priority === "important" ? null : tag(priority, priority),
        replayed ? tag("replayed", "replayed") : null,
        href ? make("a", { href, rel: "noopener noreferrer", target: "_blank" }, "open") : null)));
}

export class Feed {
  #list = part("feed");
  #empty = part("empty");

  /** @param {string} id */
  has(id) {
    return [...this.#list.children].some((item) => item.dataset.id === id);
  }

  /** @param {Notification} notification @param {boolean} replayed */
  add(notification, replayed) {
    this.#prepend(entry(notification, replayed, notification.id));
  }

  /** @param {string} text */
  line(text) {
    this.#prepend(make("li", { class: "line" }, make("span", {}, text)));
  }

  /** @param {{ channel: string | null, reason: string }} gap */
  gap({ channel, reason }) {
    const where = channel ? `in #${channel}` : "here";
    const why = GAPS[/** @type {keyof typeof GAPS} */ (reason)] ?? reason;
    const text = make("span", {}, `Something may be missing ${where}: ${why}.`);
    this.#prepend(make("li", { class: "line gap", "data-testid": "gap", "data-reason": reason }, text));
  }

  /** @param {string[]} ids @param {string} word */
  mark(ids, word) {
    for (const item of this.#list.querySelectorAll(".entry")) {
      if (!ids.includes(item.dataset.id) || item.classList.contains(word)) continue;
      item.classList.add(word);
      item.querySelector(".tags").append(make("span", { class: "tag" }, word));
    }
  }

  clear() {
    this.#list.replaceChildren();
    this.#empty.hidden = false;
  }

  /** @param {HTMLElement} item */
  #prepend(item) {
    this.#empty.hidden = true;
    this.#list.prepend(item);
    while (this.#list.children.length > KEPT) this.#list.lastElementChild.remove();
  }
}
