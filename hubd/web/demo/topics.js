// @ts-check
/** Topics as chips, and the people who are there. */

import { make, part, person } from "./dom.js";

const SHOWN_PEOPLE = 8;

/** @typedef {import("../hubd.js").Hubd} Hubd */

export class Topics {
  /** @type {Hubd | undefined} */ #hub;
  /** @type {string} */ #me = "";
  /** @type {Map<string, Set<string>>} */ #people = new Map();
  #choose;
  #note = part("topic-note");

  /** @param {string[]} names @param {(name: string) => void} choose called with a person who was clicked */
  constructor(names, choose) {
    this.#choose = choose;
    for (const name of names) this.#people.set(name, new Set());
    part("topic-form").addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#subscribe(part("topic-input").value.trim());
    });
    this.#draw();
  }

  get names() { return [...this.#people.keys()]; }

  /** Another client, with the topics already in its options. @param {Hubd} hub @param {string} me */
  use(hub, me) {
    this.#hub = hub;
    this.#me = me;
    hub.addEventListener("presence", (event) => {
      const { topic, users, joined = [], left = [] } = /** @type {CustomEvent} */ (event).detail;
      const people = users ? new Set(users) : this.#people.get(topic);
      if (!people || !this.#people.has(topic)) return;
      for (const name of joined) people.add(name);
      for (const name of left) people.delete(name);
      this.#people.set(topic, people);
      this.#draw();
    });
    for (const name of this.names) this.#watch(hub, name);
  }

  /** @param {string} name */
  async #subscribe(name) {
    if (!this.#hub || !name) return;
    try {
      await this.#hub.subscribe(name);
    } catch (error) {
      this.#note.textContent = `Not subscribed to ${name}: ${/** @type {Error} */ (error).message}`;
      return;
    }
    this.#note.textContent = "";
    part("topic-input").value = "";
    if (!this.#people.has(name)) this.#people.set(name, new Set());
    this.#draw();
    this.#watch(this.#hub, name);
  }

  /** @param {Hubd} hub @param {string} name */
  async #watch(hub, name) {
    try {
      const { users } = await hub.presence(name, { watch: true });
      if (hub === this.#hub && this.#people.has(name)) this.#people.set(name, new Set(users));
      this.#draw();
    } catch {
      // Without presence the topic still works; the row then shows nobody.
    }
  }

  /** @param {string} name @param {boolean} byKeyboard */
  #leave(name, byKeyboard) {
    this.#people.delete(name);
    this.#draw();
    if (byKeyboard) part("topic-input").focus(); // what had the focus is gone
    this.#hub?.unsubscribe(name).catch(() => {}); // gone with the connection, if it can't be said any more
  }

  /** Leaves alone what hasn't changed, so that nobody loses the button that he is about to press. */
  #draw() {
    const list = part("topics");
    const drawn = new Map([...list.children].map((row) => [row.dataset.topic, row]));
    for (const [name, row] of drawn) if (!this.#people.has(name)) row.remove();
    for (const name of this.names) {
      const row = this.#row(name);
      const old = drawn.get(name);
      if (!old) list.append(row);
      else if (!old.isEqualNode(row)) old.replaceWith(row);
    }
  }

  /** @param {string} name */
  #row(name) {
    const people = [...(this.#people.get(name) ?? [])].filter((other) => other !== this.#me).sort();
    const close = make("button", { type: "button", class: "close", "aria-label": `Unsubscribe from ${name}`,
      "data-testid": "unsubscribe-button" }, "×");
    close.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#leave(name, event.detail === 0));
    const more = people.length - SHOWN_PEOPLE;
    return make("li", { "data-testid": "topic", "data-topic": name },
      make("div", { class: "chip" }, make("span", {}, name), close),
      make("div", { class: "people", "data-testid": "people" },
        ...people.slice(0, SHOWN_PEOPLE).map((other) => person(other, this.#choose)),
        more > 0 ? `and ${more} more` : null,
        people.length ? null : make("small", {}, "nobody else")));
  }
}
