// @ts-check
/** The form that publishes, and the same call as a line for a shell. */

import { make, part } from "./dom.js";

/** @type {Record<string, Record<string, string>>} */
const PRESETS = {
  "Order shipped": { type: "alert", title: "Order 1234 shipped", body: "It arrives on Thursday.", url: "/orders/1234" },
  Mention: { type: "alert", title: "You were mentioned", body: "“Can you look at the release notes?”" },
  "3 unread": { type: "badge", count: "3" },
  Like: { type: "feed", title: "Liked your post", body: "“Cursors and honest gaps”", priority: "informational" },
  "New sign-in": { type: "alert", title: "New sign-in from Lisbon", body: "Wasn't you? Lock your account.",
    priority: "critical", persistence: "persistent" },
};
const BLANK = { title: "", body: "", url: "", priority: "", persistence: "" };

/** For a shell: in single quotes. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export class Publisher {
  #form = part("publish-form");
  #note = part("publish-note");
  /** @type {(body: Record<string, any>) => Promise<Record<string, any>>} */ #publish;

  /** @param {(body: Record<string, any>) => Promise<Record<string, any>>} publish */
  constructor(publish) {
    this.#publish = publish;
    for (const [name, fields] of Object.entries(PRESETS)) {
      const button = make("button", { type: "button" }, name);
      button.addEventListener("click", () => this.#fill({ ...BLANK, ...fields }));
      part("presets").append(button);
    }
    this.#form.addEventListener("input", () => this.#refresh());
    this.#form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#send();
    });
    part("copy-button").addEventListener("click", () => this.#copy());
    this.#fill(PRESETS["Order shipped"]);
  }

  /** @param {string} user */
  writeTo(user) {
    this.#fill({ kind: "user", target: user });
    this.#form.elements.title.focus();
  }

  /** Suggests somebody other than oneself, as long as nobody was chosen. @param {string} user */
  suggest(user) {
    if (this.#form.elements.target.value === "") this.#fill({ target: user });
  }

  /** @param {Record<string, string>} fields */
  #fill(fields) {
    for (const [name, value] of Object.entries(fields)) this.#form.elements[name].value = value;
    this.#refresh();
  }

  /** @returns {Record<string, any>} the body, as the hub wants it */
  #body() {
    const fields = Object.fromEntries(new FormData(this.#form));
    const { type, title, body, url, count, priority, persistence } = fields;
    const name = String(fields.target).trim();
    const to = { user: `user:${name}:notifications`, topic: name, everybody: "notifications" }[String(fields.kind)];
    const told = { ...(title && { title }), ...(body && { body }), ...(url && { url }) };
    const notification = type === "badge" ? { type, count: Number(count) }
      : type === "feed" ? { type, item: told } : { type, ...told };
    return { to, notification, ...(priority && { priority }), ...(persistence && { persistence }) };
  }

  #refresh() {
    const { kind, type, target } = this.#form.elements;
    const field = (/** @type {string} */ name) => this.#form.querySelector(`[data-field="${name}"]`);
    const badge = type.value === "badge";
    field("target").hidden = target.disabled = kind.value === "everybody";
    field("target").querySelector("span").textContent = kind.value === "topic" ? "Topic" : "Name";
    field("count").hidden = !badge;
    for (const name of ["title", "body", "url"]) field(name).hidden = badge;
    part("curl").textContent = [
      `curl ${location.origin}/api/notifications \\`,
      '  -H "Authorization: Bearer $HUBD_KEY" \\',
      `  -d ${quoted(JSON.stringify(this.#body()))}`,
    ].join("\n");
  }

  async #send() {
    const body = this.#body();
    try {
      const { id } = await this.#publish(body);
      this.#note.textContent = `Sent as ${id}`;
      this.#note.classList.remove("wrong");
    } catch (error) {
      this.#note.textContent = `Not sent: ${/** @type {Error} */ (error).message}`;
      this.#note.classList.add("wrong");
    }
  }

  async #copy() {
    const button = part("copy-button");
    try {
      await navigator.clipboard.writeText(part("curl").textContent);
      button.textContent = "Copied";
    } catch {
      getSelection()?.selectAllChildren(part("curl"));
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2_000);
  }
}
