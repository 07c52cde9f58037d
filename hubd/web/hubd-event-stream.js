// @ts-check
/**
 * Bytes of `text/event-stream` → its events, as the HTML standard parses them. With a fetch it has to be done by hand:
 * chunks break anywhere, also inside a character, and nobody else limits what a line may hold.
 *
 * @typedef {object} ServerEvent
 * @property {string} type the `event:`, "message" without one
 * @property {string} data its lines, joined; "" if there were none (a bare `id:`)
 * @property {string | undefined} id the `id:` of this very event
 */

import { BrokenStream } from "./hubd-link.js";

const LINE_MAX = 4 * 1024 * 1024; // characters, and as many of all data lines of one event
const DIGITS = /^[0-9]+$/;

export class EventStream {
  #decoder = new TextDecoder(); // drops a byte order mark at the start, and puts split characters together
  /** @type {string[]} the line so far; joined once, or a long one would be copied with each chunk */ #unended = [];
  #length = 0;
  #afterCr = false;
  /** @type {string} */ #type = "";
  /** @type {string[]} */ #data = [];
  #size = 0;
  /** @type {string | undefined} */ #id;
  #event;
  #retry;

  /** @param {(event: ServerEvent) => void} event @param {(ms: number) => void} retry */
  constructor(event, retry) {
    this.#event = event;
    this.#retry = retry;
  }

  /** @param {Uint8Array} bytes @throws {BrokenStream} when a line or an event is longer than any that a hub sends */
  push(bytes) {
    let text = this.#decoder.decode(bytes, { stream: true });
    if (text === "") return;
    // The second half of a CRLF that was split: its line has ended already.
    if (this.#afterCr && text[0] === "\n") text = text.slice(1);
    this.#afterCr = text === "" ? false : text.at(-1) === "\r";
    let start = 0;
    for (const end of text.matchAll(/\r\n|\r|\n/g)) {
      this.#unended.push(text.slice(start, end.index));
      this.#line(this.#unended.join(""));
      this.#unended = [];
      this.#length = 0;
      start = end.index + end[0].length;
    }
    if (start === text.length) return;
    this.#unended.push(text.slice(start));
    this.#length += text.length - start;
    if (this.#length > LINE_MAX) throw new BrokenStream("a line that doesn't end");
  }

  /** @param {string} line */
  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    switch (name) {
      case "event": this.#type = value; break;
      case "data": this.#add(value); break;
      case "id": if (!value.includes("\0")) this.#id = value; break;
      case "retry": if (DIGITS.test(value)) this.#retry(Number(value)); break;
    } // without a name it is a comment
  }

  /** @param {string} line */
  #add(line) {
    this.#size += line.length + 1;
    if (this.#size > LINE_MAX) throw new BrokenStream("an event that doesn't end");
    this.#data.push(line);
  }

  #dispatch() {
    const event = { type: this.#type || "message", data: this.#data.join("\n"), id: this.#id };
    const empty = this.#data.length === 0 && this.#id === undefined;
    this.#type = "";
    this.#data = [];
    this.#size = 0;
    this.#id = undefined;
    if (!empty) this.#event(event);
  }
}
