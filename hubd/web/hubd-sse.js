// @ts-check
/**
 * Where Upgrade is blocked: server-sent events, by fetch instead of EventSource, which can't send a token in a header,
 * read the status of a refusal, or tell that a proxy keeps the bytes to itself.
 *
 * @typedef {import("./hubd-event-stream.js").ServerEvent} ServerEvent
 */

import { EventStream } from "./hubd-event-stream.js";
import { HttpLink } from "./hubd-http.js";

const WELCOME_MS = 5_000; //   nothing for so long: somebody on the way waits for the end of the answer
const SILENCE_MS = 35_000; //  the hub's heartbeat comes every 15 s
const RETRY_MAX_MS = 3_600_000;

export class SseLink extends HttpLink {
  /** @type {import("./hubd-link.js").Transport} */ transport = "sse";
  #welcome = false; // of this very stream

  async read() {
    const reading = this.reading = new AbortController();
    const current = () => reading === this.reading && !this.over;
    this.#welcome = false;
    this.expectWelcome(WELCOME_MS);
    try {
      const { url, asked } = this.where.request(this.transport);
      this.asked = asked;
      const answer = await this.ask(url, { accept: "text/event-stream", signal: reading.signal });
      if (!current()) return;
      if (!answer.ok) return await this.turnedDown(answer);
      if (!answer.headers.get("Content-Type")?.startsWith("text/event-stream")) {
        return this.end({ code: answer.status, reason: "what answered is no event stream" });
      }
      const bytes = answer.body.getReader();
      const events = new EventStream((event) => current() && this.#event(event), (ms) => this.#retry(ms));
      for (;;) {
        const { done, value } = await bytes.read();
        if (!current()) return;
        if (done) return this.end({ how: this.#welcome ? "lost" : "failed", reason: "the stream ended" });
        this.heard();
        events.push(value);
      }
    } catch (error) {
      if (current()) this.end({ reason: String(error) });
    }
  }

  /** @param {number} ms */
  #retry(ms) {
    this.retryMs = Math.min(ms, RETRY_MAX_MS);
  }

  /** @param {ServerEvent} event */
  #event({ type, data, id }) {
    if (data === "") return this.#at(id);
    const frame = this.parse(data);
    if (!frame) return;
    if (type !== "hub") return this.on.frame({ ...frame, cursor: frame.cursor ?? id });
    if (frame.hub === "welcome") {
      this.#welcome = true;
      return this.welcomed(frame, SILENCE_MS);
    }
    if (frame.hub === "disconnect") {
      const { code, reason, reconnect, retry_after_s } = frame;
      return this.end({ how: this.up ? "lost" : "refused", code, reason, reconnect, retry_after_s });
    }
    this.on.frame(frame);
  }

  /** A cursor by itself. The one before the welcome is where the replay begins: not yet a place to go on from. */
  #at(/** @type {string | undefined} */ cursor) {
    if (this.#welcome && cursor) this.on.frame({ hub: "ping", cursor });
  }
}
