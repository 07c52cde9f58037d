// A server with ws that sends what is posted to /publish to everybody, as the example in its manual does.
"use strict";

const { createServer } = require("node:http");
const { buffer } = require("node:stream/consumers");
const { WebSocket, WebSocketServer } = require("ws");

const HOUR_MS = 3_600_000;

const server = createServer(async (request, response) => {
  const data = await buffer(request);
  for (const client of sockets.clients) {
    if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
  }
  response.writeHead(202, { "Content-Length": 0 }).end();
});
server.keepAliveTimeout = HOUR_MS;
const sockets = new WebSocketServer({ server });

server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`ws listening on http://127.0.0.1:${server.address().port}`);
});
