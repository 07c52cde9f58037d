// @ts-check
/** What goes over the wire: a WebSocket that shows its frames, and requests that show what they send and get. */

import { make, part, timeOfDay } from "./dom.js";

const KEPT = 60;
const LONGEST = 600;

/** @param {"in" | "out" | "end"} direction @param {string} text */
function show(direction, text) {
  const list = part("frames");
  const arrow = { in: "↓", out: "↑", end: "·" }[direction];
  const word = { in: "received", out: "sent", end: "connection" }[direction];
  list.prepend(make("li", { class: direction },
    make("span", { class: "arrow", title: word }, arrow),
    make("time", {}, timeOfDay(Date.now())),
    make("code", {}, text.length > LONGEST ? `${text.slice(0, LONGEST)} …` : text)));
  while (list.children.length > KEPT) list.lastElementChild.remove();
}

export class ShownWebSocket extends WebSocket {
  /** @param {string} url @param {string[]} protocols */
  constructor(url, protocols) {
    super(url, protocols);
    const { pathname, search } = new URL(url);
    this.addEventListener("open", () => show("end", `open ${pathname}${decodeURIComponent(search)}`));
    this.addEventListener("message", ({ data }) => show("in", data));
    this.addEventListener("close", ({ code, reason }) => show("end", `closed ${code} ${reason}`));
  }

  /** @param {string} text */
  send(text) {
    show("out", text);
    super.send(text);
  }
}

/** @param {string} url @param {RequestInit} options */
export async function shownFetch(url, options) {
  const { pathname, search } = new URL(url);
  const { method = "GET", body } = options;
  show("out", `${method} ${pathname}${decodeURIComponent(search)}${body ? ` ${body}` : ""}`);
  const answer = await fetch(url, options);
  show("end", `${answer.status} ${pathname}`);
  if (!answer.body) return answer;
  const text = new TextDecoder();
  const shown = new TransformStream({
    transform(chunk, onwards) {
      show("in", text.decode(chunk, { stream: true }));
      onwards.enqueue(chunk);
    },
  });
  return new Response(answer.body.pipeThrough(shown), answer);
}
