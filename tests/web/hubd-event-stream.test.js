/** The parser of server-sent events: `node --test tests/web/*.test.js`. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { EventStream } from "../../hubd/web/hubd-event-stream.js";

const bytes = (text) => new TextEncoder().encode(text);

/** What comes out of these chunks: events, and the numbers of `retry:`. */
function parsed(...chunks) {
  const out = [];
  const stream = new EventStream((event) => out.push(event), (ms) => out.push(ms));
  for (const chunk of chunks) stream.push(typeof chunk === "string" ? bytes(chunk) : chunk);
  return out;
}

const SAMPLE = `retry: 2000\nid: c0\n\nevent: hub\ndata: {"hub":1}\n\n:\nid: c1\n\nid: c2\ndata: größer 🚀 \u2028.\n\n`;
const EVENTS = [
  2000,
  { type: "message", data: "", id: "c0" },
  { type: "hub", data: '{"hub":1}', id: undefined },
  { type: "message", data: "", id: "c1" },
  { type: "message", data: "größer 🚀 \u2028.", id: "c2" },
];

describe("a stream", () => {
  test("is understood, whichever line ends it has", () => {
    for (const end of ["\n", "\r\n", "\r"]) assert.deepEqual(parsed(SAMPLE.replaceAll("\n", end)), EVENTS, `${[end]}`);
  });

  test("may be cut anywhere, in the middle of a character or of a line end too", () => {
    for (const end of ["\n", "\r\n", "\r"]) {
      const all = bytes(SAMPLE.replaceAll("\n", end));
      for (let at = 0; at <= all.length; at++) {
        assert.deepEqual(parsed(all.slice(0, at), all.slice(at)), EVENTS, `at ${at}`);
      }
      assert.deepEqual(parsed(...Array.from(all, (byte) => Uint8Array.of(byte))), EVENTS);
    }
  });

  test("may begin with a byte order mark", () => {
    assert.deepEqual(parsed("\uFEFFdata: x\n\n"), parsed("data: x\n\n"));
    const single = Array.from(bytes("\uFEFFdata: x\n\n"), (byte) => Uint8Array.of(byte));
    assert.deepEqual(parsed(...single), parsed("data: x\n\n"));
  });

  test("joins lines of data, drops one space, and knows fields without a value", () => {
    assert.deepEqual(parsed("data:a\ndata:  b\ndata\n\n"), [{ type: "message", data: "a\n b\n", id: undefined }]);
  });

  test("has events of their own: nothing of one is left for the next, and an unfinished one is none", () => {
    assert.deepEqual(parsed("event: hub\n\ndata: 1\nid: a\n\ndata: 2\n\ndata: 3"), [
      { type: "message", data: "1", id: "a" }, { type: "message", data: "2", id: undefined },
    ]);
  });

  test("takes no retry that isn't digits, no id with a zero byte, no field that it doesn't know", () => {
    assert.deepEqual(parsed("retry: 1e3\nretry: -1\nretry:\nid: a\0b\nDATA: x\nfield\n\n"), []);
  });

  test("may not go on without a line end, nor without an end of the event", () => {
    const part = bytes("x".repeat(1024 * 1024));
    const fed = (between) => () => parsed("data: ", ...Array.from({ length: 9 }, () => [part, bytes(between)]).flat());
    assert.throws(fed(""), /a line that doesn't end/);
    assert.throws(fed("\ndata: "), /an event that doesn't end/);
    assert.equal(parsed("data: ", part, part, part, "\n\n")[0].data.length, 3 * 1024 * 1024);
    assert.deepEqual(parsed(...Array.from({ length: 9 }, () => [bytes(":"), part, bytes("\n")]).flat()), []);
  });

  test("costs no more in small pieces", () => {
    const piece = bytes("x".repeat(64));
    const begun = performance.now();
    parsed("data: ", ...Array.from({ length: 40_000 }, () => piece), "\n\n");
    assert.ok(performance.now() - begun < 3_000);
  });
});
