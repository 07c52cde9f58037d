// @ts-check
/** The demo page: who you are, the state of the connection, and where each notification goes. */

import { Hubd } from "../hubd.js";
import { make, part } from "./dom.js";
import { Feed } from "./feed.js";
import { shownFetch, ShownWebSocket } from "./frames.js";
import { Publisher } from "./publish.js";
import { PushSwitch } from "./push.js";
import { Toasts } from "./toasts.js";
import { Topics } from "./topics.js";

const NAMES = ["ada", "bob", "grace", "linus"];
const DROP_MS = 5_000;
const TRANSPORTS = { websocket: "WebSocket, hubd.v1.json", sse: "server-sent events", poll: "long-polling" };
/** `?transports=sse,poll` shows what it is like without WebSocket. */
const transports = new URL(location.href).searchParams.get("transports")?.split(",");

const feed = new Feed();
const toasts = new Toasts();
const pushSwitch = new PushSwitch();
const publisher = new Publisher((body) => hub ? hub.publish(body) : Promise.reject(new Error("connect first")));
const topics = new Topics(["lobby"], (name) => publisher.writeTo(name));

/** @type {Hubd | undefined} */
let hub;
let me = "";
/** @type {Record<string, any>} */
let state = { state: "closed" };
let lostAt = 0;
let backAt = 0; // what was sent before, and arrives after, is replayed

/**
 * Hears a client for as long as it is the one in use.
 * @param {Hubd} from @param {string} type @param {(detail: any) => void} hear
 */
function listen(from, type, hear) {
  from.addEventListener(type, (event) => {
    if (from === hub) hear(/** @type {CustomEvent} */ (event).detail);
  });
}

/** @param {string} user @param {{ cursor?: string }} [resume] */
function connectAs(user, { cursor } = {}) {
  hub?.close();
  if (user !== me) forget();
  me = user;
  lostAt = backAt = 0;
  const url = new URL(location.href);
  url.searchParams.set("user", user);
  history.replaceState(null, "", url);
  const client = new Hubd({
    user, cursor, topics: topics.names, transports: /** @type {any} */ (transports), push: { follow: false },
    WebSocket: ShownWebSocket, env: { fetch: shownFetch },
  });
  hub = client;
  listen(client, "state", stateChanged);
  listen(client, "welcome", welcomed);
  listen(client, "notification", arrived);
  client.addEventListener("toast", (event) => {
    if (client !== hub || !alerted(/** @type {CustomEvent} */ (event).detail)) event.preventDefault();
  });
  listen(client, "gap", (gap) => feed.gap(gap));
  listen(client, "read", ({ ids }) => { toasts.drop(ids); feed.mark(ids, "read"); });
  listen(client, "retract", ({ ids }) => { toasts.drop(ids); feed.mark(ids, "retracted"); });
  listen(client, "error", ({ code, message }) => feed.line(`${code}: ${message}`));
  topics.use(client, user);
  pushSwitch.use(client);
  showIdentity();
}

/** What the page shows is one person's. */
function forget() {
  feed.clear();
  toasts.clear();
  showBadge(0);
}

/** @param {Record<string, any>} detail */
function stateChanged(detail) {
  if (state.state === "connected" && detail.state !== "connected") lostAt = Date.now();
  state = detail;
  showState();
}

/** @param {Record<string, any>} welcome */
function welcomed({ connection, recovered }) {
  part("connection").textContent = connection ?? "–";
  if (recovered === undefined) return;
  backAt = Date.now();
  if (lostAt && recovered) feed.line(`Back after ${Math.round((backAt - lostAt) / 1000)} s: nothing is missing`);
  lostAt = 0; // told once; a topic that joins by another stream is no loss
}

/** @param {Record<string, any>} notification */
function arrived(notification) {
  const replayed = notification.sent_at < backAt;
  if (feed.has(notification.id)) return; // from the client before this one, on the same page
  if (notification.type === "badge") return showBadge(notification.count);
  feed.add(notification, replayed);
}

/** @param {Record<string, any>} notification @returns {boolean} whether it is one that catches the eye */
function alerted(notification) {
  if (notification.type === "alert") toasts.show(notification, notification.sent_at < backAt);
  return notification.type === "alert";
}

/** @param {unknown} count */
function showBadge(count) {
  const badge = part("badge");
  const shown = Number.isFinite(Number(count)) ? Math.max(0, Math.trunc(Number(count))) : 0;
  badge.textContent = shown > 99 ? "99+" : String(shown);
  badge.hidden = shown === 0;
  document.title = shown ? `(${shown}) ${me} · hubd demo` : `${me} · hubd demo`;
}

function showState() {
  const seconds = Math.max(0, Math.ceil(((state.retryAt ?? 0) - Date.now()) / 1000));
  const by = hub && hub.transport !== "websocket" ? `, by ${TRANSPORTS[hub.transport]}` : "";
  const [word, detail] = {
    connecting: ["Connecting", state.attempt ? `try ${state.attempt + 1}` : ""],
    connected: ["Connected", `as ${me}${by}`],
    reconnecting: ["Reconnecting", `in ${seconds} s`],
    offline: ["Offline", `next try in ${seconds} s`],
    closed: ["Not connected", state.reason ?? ""],
  }[/** @type {import("../hubd-connection.js").State} */ (state.state)];
  const place = part("state");
  place.dataset.state = state.state;
  const [wordPlace, detailPlace] = place.querySelectorAll("span");
  if (wordPlace.textContent !== word) wordPlace.textContent = word; // said aloud only when it changes
  detailPlace.textContent = detail;
  const up = state.state === "connected";
  part("transport").textContent = up && hub ? TRANSPORTS[hub.transport] : "–";
  part("transport").dataset.transport = up && hub ? hub.transport : "";
  part("cursor").textContent = hub?.cursor ?? "–";
  if (!up) part("connection").textContent = "–";
  for (const name of ["drop-button", "drop-friend-button", "gap-button"]) part(name).disabled = !up;
  showConnectButton();
}

function showConnectButton() {
  const button = part("connect-button");
  const mine = part("user-input").value.trim() === me;
  const on = mine && state.state !== "closed";
  button.textContent = on ? "Disconnect" : mine || !me ? "Connect" : "Switch";
  button.classList.toggle("primary", !on);
}

function showIdentity() {
  part("user-input").value = me;
  for (const button of part("quick-users").children) {
    button.setAttribute("aria-pressed", String(button.textContent === me));
  }
  const friend = friendOf(me);
  const link = part("second-tab");
  link.href = `?user=${friend}`;
  link.querySelector("b").textContent = friend;
  publisher.suggest(friend);
  document.title = `${me} · hubd demo`;
}

/** @param {string} name */
const friendOf = (name) => NAMES.find((other) => other !== name) ?? NAMES[0];

/** Three notifications from somebody else, on a connection of his own, while this one is down. @param {string} to */
function friendWrites(to) {
  const texts = ["Are you there?", "The build is green again.", "Lunch at noon?"];
  const friend = new Hubd({ user: friendOf(to), autoAck: false, persist: false });
  friend.addEventListener("welcome", async () => {
    for (const title of texts) {
      await friend.publish({ to: `user:${to}:notifications`, notification: { type: "alert", title } });
      await new Promise((resolve) => setTimeout(resolve, 700));
    }
    friend.close();
  });
  setTimeout(() => friend.close(), DROP_MS);
}

part("user-form").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const user = part("user-input").value.trim();
  if (user === me && state.state !== "closed") hub?.close("you disconnected");
  else if (user) connectAs(user);
});
part("user-input").addEventListener("input", showConnectButton);
for (const name of NAMES) {
  const button = make("button", { type: "button", "aria-pressed": "false" }, name);
  button.addEventListener("click", () => connectAs(name));
  part("quick-users").append(button);
}
part("clear-button").addEventListener("click", () => feed.clear());
part("drop-button").addEventListener("click", () => hub?.drop(DROP_MS));
part("drop-friend-button").addEventListener("click", () => {
  hub?.drop(DROP_MS);
  friendWrites(me);
});
part("gap-button").addEventListener("click", () => connectAs(me, { cursor: "made-up" }));
setInterval(showState, 250);

const user = new URL(location.href).searchParams.get("user");
if (user) connectAs(user);
else part("user-input").focus();
