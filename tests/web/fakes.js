/**
 * Stand-ins for a browser: a clock that is moved by hand, a page, storage, and WebSockets and requests whose other end
 * is the test.
 */

import { Hubd } from "../../hubd/web/hubd.js";

// Node 18 knows Event, but not yet this child of it.
globalThis.CustomEvent ??= class CustomEvent extends Event {
  constructor(type, { detail, ...options } = {}) {
    super(type, options);
    this.detail = detail;
  }
};

/** Lets everything that waits for resolved promises go on. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class FakeClock {
  time = 1_000_000;
  #timers = new Map();
  #last = 0;

  now = () => this.time;
  setTimeout = (run, ms) => {
    this.#timers.set(++this.#last, { run, at: this.time + ms });
    return this.#last;
  };
  clearTimeout = (timer) => this.#timers.delete(timer);

  get waiting() { return this.#timers.size; }

  /** Moves on, stopping at each timer that falls due. */
  async advance(ms) {
    const end = this.time + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.time = Math.max(this.time, due[1].at);
      due[1].run();
      await settle();
    }
    this.time = end;
  }
}

export class FakeSocket {
  readyState = 0;
  sent = [];
  closed = false;

  constructor(url, protocols) {
    this.url = new URL(url);
    this.protocols = protocols;
  }

  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; this.readyState = 3; }

  /** What the hub's side does. */
  open() { this.readyState = 1; this.onopen?.({}); }
  receive(frame) { this.onmessage?.({ data: typeof frame === "string" ? frame : JSON.stringify(frame) }); }
  end(code = 1006, reason = "") { this.readyState = 3; this.onclose?.({ code, reason }); }

  actions(name) { return this.sent.filter(({ action }) => action === name); }
}

/** A request: the test is the hub that answers, all at once or as a stream. */
export class FakeRequest {
  #answer;
  #chunks = [];
  #pull = null;
  #over = null; // what a read gives when no chunk is left: an end, or an error

  constructor(url, { method = "GET", headers, body, signal, ...options }) {
    Object.assign(this, { url: new URL(url), method, headers, options, body: body && JSON.parse(body) });
    this.promise = new Promise((resolve, reject) => { this.#answer = { resolve, reject }; });
    signal.addEventListener("abort", () => {
      this.aborted = true;
      this.fail(new DOMException("aborted", "AbortError"));
    });
  }

  aborted = false;
  get path() { return this.url.pathname; }
  get query() { return Object.fromEntries(this.url.searchParams); }

  /** Headers, and a body that is still to come. */
  begin(status = 200, headers = { "Content-Type": "text/event-stream; charset=utf-8" }) {
    const body = { getReader: () => ({ read: () => this.#read() }) };
    const text = async () => {
      const decoder = new TextDecoder();
      for (let all = ""; ;) {
        const { done, value } = await this.#read();
        if (done) return JSON.parse(all);
        all += decoder.decode(value, { stream: true });
      }
    };
    const ok = status >= 200 && status < 300;
    this.#answer.resolve({ status, ok, headers: new Headers(headers), body, json: text });
    return settle();
  }

  /** Part of the body. */
  async push(part) {
    this.#chunks.push(typeof part === "string" ? new TextEncoder().encode(part) : part);
    this.#pull?.();
    await settle();
  }

  async end(error = null) {
    this.#over ??= { error };
    this.#pull?.();
    await settle();
  }

  /** The network breaks. */
  async fail(error = new TypeError("Failed to fetch")) {
    this.#answer.reject(error);
    await this.end(error);
  }

  async answer(status, body, headers = {}) {
    await this.begin(status, { "Content-Type": "application/json", ...headers });
    if (body !== undefined) await this.push(JSON.stringify(body));
    await this.end();
  }

  problem(status, code, headers = {}) {
    const detail = `${code}!`;
    return this.answer(status, { code, detail, status }, { "Content-Type": "application/problem+json", ...headers });
  }

  /** As the hub begins a stream, up to its welcome. */
  async welcome(more = {}) {
    const topics = this.query.topics?.split(",") ?? [];
    await this.begin();
    await this.push("retry: 2000\nid: c0\n\n");
    await this.hub({ hub: "welcome", user: "ada", connection: "s1", cursor: "c0", topics, ...more });
  }

  hub(frame) { return this.push(`event: hub\ndata: ${JSON.stringify(frame)}\n\n`); }
  notify(frame) { return this.push(`id: ${frame.cursor}\ndata: ${JSON.stringify(frame)}\n\n`); }
  beat(cursor) { return this.push(`:\nid: ${cursor}\n\n`); }
  polled(cursor, notifications = [], gap = null) { return this.answer(200, { cursor, notifications, gap }); }

  async #read() {
    while (this.#chunks.length === 0 && !this.#over) {
      await new Promise((resolve) => { this.#pull = resolve; });
    }
    if (this.#chunks.length) return { done: false, value: this.#chunks.shift() };
    if (this.#over.error) throw this.#over.error;
    return { done: true };
  }
}

export class FakeStorage {
  entries = new Map();
  getItem(key) { return this.entries.get(key) ?? null; }
  setItem(key, value) { this.entries.set(key, String(value)); }
}

export class FakePage {
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  window = new EventTarget();
  navigator = { onLine: true };

  turn(visibilityState) {
    this.document.visibilityState = visibilityState;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  network(onLine) {
    this.navigator.onLine = onLine;
    this.window.dispatchEvent(new Event(onLine ? "online" : "offline"));
  }
}

export const notification = (n, more = {}) => ({ id: `id-${n}`, type: "alert", title: "hi", cursor: `c${n}`, ...more });

/**
 * A client in fake surroundings, with everything that it emitted and every socket and request that it opened. By
 * WebSocket alone, unless it is told otherwise.
 */
export class Scene {
  clock = new FakeClock();
  page = new FakePage();
  sockets = [];
  requests = [];
  events = [];
  random = () => 0.5;

  constructor(options = {}, { listen = true, page = true, sessionStorage = () => undefined, more = {} } = {}) {
    Object.assign(this.page.window, more.window);
    Object.assign(this.page.navigator, more.navigator);
    Object.defineProperty(this.page.window, "sessionStorage", { get: sessionStorage });
    const sockets = this.sockets;
    class WebSocket extends FakeSocket {
      constructor(...args) { super(...args); sockets.push(this); }
    }
    const { now, setTimeout, clearTimeout } = this.clock;
    const { document, window, navigator } = page ? this.page : {};
    const random = () => this.random();
    const fetch = (url, request) => {
      this.requests.push(new FakeRequest(url, request));
      return this.requests.at(-1).promise;
    };
    const env = { document, window, navigator, now, setTimeout, clearTimeout, random, fetch, WebSocket: null };
    const transports = ["websocket"];
    this.hub = new Hubd({ url: "http://hub.test/notifications", WebSocket, env, transports, ...options });
    const types = ["state", "welcome", "gap", "read", "retract", "presence", "error"];
    for (const event of listen ? [...types, "notification"] : types) {
      this.hub.addEventListener(event, ({ detail }) => this.events.push({ event, ...detail }));
    }
  }

  get socket() { return this.sockets.at(-1); }
  /** The newest stream or poll. */
  get request() { return this.asked("/notifications").at(-1); }
  asked(path, method) {
    const fits = (request) => request.path.endsWith(path) && (method ?? request.method) === request.method;
    return this.requests.filter(fits);
  }
  of(type) { return this.events.filter(({ event }) => event === type); }
  get lastState() { return this.of("state").at(-1); }
  get waitMs() { return this.lastState.retryAt - this.clock.time; }

  /** Up to the welcome of the newest socket. */
  async connected(welcome = {}) {
    await settle();
    this.socket.open();
    const topics = this.socket.url.searchParams.get("topics")?.split(",") ?? [];
    const usual = { hub: "welcome", user: "ada", connection: "n1", cursor: "c0", topics, ping_s: 25 };
    this.socket.receive({ ...usual, ...welcome });
    await settle();
    return this;
  }

  /** Through the wait, to the next socket. */
  async retried() {
    await this.clock.advance(this.waitMs);
    return this.socket;
  }

  /** Answers the newest action of that name. */
  async reply(action, more = {}) {
    await settle();
    this.socket.receive({ hub: "reply", ref: this.socket.actions(action).at(-1).ref, ok: true, ...more });
    await settle();
  }
}

// ---- on the way down ------------------------------------------------------------------------------------------------

/** All transports are there. */
export const anyTransport = (options) => new Scene({ transports: ["websocket", "sse", "poll"], ...options });
export const isPoll = (request) => request.query.wait !== undefined;

/** Upgrade is blocked: the handshake fails, and fails again. */
export async function withoutWebSocket(made) {
  await settle();
  made.socket.end();
  await made.retried();
  made.socket.end();
  await settle();
  return made;
}

export async function onSse(options) {
  const made = await withoutWebSocket(anyTransport(options));
  await made.request.welcome();
  return made;
}

export async function onPoll(options) {
  const made = await withoutWebSocket(anyTransport(options));
  await made.request.begin();
  await made.clock.advance(5_000);
  await made.request.polled("c0");
  return made;
}

// ---- by server-sent events ------------------------------------------------------------------------------------------

export const GATHER_MS = 10; // topics that are asked for one after the other join together

export const byEvents = (options) => new Scene({ transports: ["sse"], ...options });

export async function streaming(options) {
  const made = byEvents(options);
  await settle();
  await made.request.welcome();
  return made;
}
