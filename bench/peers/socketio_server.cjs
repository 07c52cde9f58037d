// A server with Socket.IO that emits what is posted to /publish to everybody.
"use strict";

const { createServer } = require("node:http");
const { json } = require("node:stream/consumers");
const { Server } = require("socket.io");

const HOUR_MS = 3_600_000;

const server = createServer(async (request, response) => {
  io.emit("news", await json(request));
  response.writeHead(202, { "Content-Length": 0 }).end();
});
server.keepAliveTimeout = HOUR_MS;
const io = new Server(server, { transports: ["websocket"], serveClient: false, pingInterval: HOUR_MS, pingTimeout: HOUR_MS });

server.listen({ host: "127.0.0.1", port: 0, backlog: 4096 }, () => {
  console.log(`socket.io listening on http://127.0.0.1:${server.address().port}`);
});
