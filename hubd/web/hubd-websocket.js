// @ts-check
/**
 * The best transport: one WebSocket, whose frames are passed on as they are.
 *
 * @typedef {import("./hubd-link.js").Frame} Frame
 */

import { Link } from "./hubd-link.js";

const SUBPROTOCOL = "hubd.v1.json";
const WELCOME_MS = 15_000;
const SILENCE_MS = 15_000; // beyond the hub's ping interval
const PROBE_MS = 5_000;
const PROBE = "probe"; //     a ref of our own among the numbers of the connection
const OF_THE_HUB = 4_000; //  close codes from here on are its own words

export class WebSocketLink extends Link {
  /** @type {any} */ #socket = null;

  /** @param {string | undefined} token */
  open(token) {
    this.expectWelcome(WELCOME_MS);
    const { url, asked } = this.where.request(this.transport);
    this.asked = asked;
    const socket = new this.env.WebSocket(url, [SUBPROTOCOL]);
    this.#socket = socket;
    socket.onopen = () => !this.over && token !== undefined && this.send({ action: "auth", token });
    socket.onmessage = (/** @type {any} */ event) => !this.over && this.#receive(event.data);
    socket.onclose = (/** @type {any} */ { code, reason }) =>
      this.end({ code, reason, ...(code >= OF_THE_HUB && { how: "refused" }) });
    socket.onerror = () => {}; // a close follows; some WebSocket classes throw what nobody listens for
  }

  /** @param {Frame} frame */
  send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  check() {
    this.timers.after("probe", PROBE_MS, () => this.end({ reason: "no answer after the network changed" }));
    this.send({ action: "ping", ref: PROBE });
  }

  hangUp() {
    this.#socket?.close();
  }

  /** @param {string} text */
  #receive(text) {
    this.heard();
    const frame = this.parse(text);
    if (!frame) return;
    if (frame.ref === PROBE) return this.timers.cancel("probe");
    switch (frame.hub) {
      case "welcome":
        // A renewed token may be answered with another welcome: the connection goes on as it is.
        if (!this.up) this.welcomed(frame, frame.ping_s > 0 ? frame.ping_s * 1000 + SILENCE_MS : Infinity);
        return;
      case "disconnect": {
        const { code, reason, reconnect, retry_after_s } = frame;
        return this.end({ how: this.up ? "lost" : "refused", code, reason, reconnect, retry_after_s });
      }
      case "ping": this.send({ action: "pong" });
    }
    this.on.frame(frame);
  }
}
