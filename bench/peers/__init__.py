"""The servers that hubd is compared with, as their users would run them, tuned for this, and on one core each.

Each has a function that starts it in a context of processes, or says by ``Missing`` what isn't installed. What they
send is as long as hubd's frames; they have nobody to authenticate and nothing to replay, which is to their advantage.
"""

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from bench.peers import configs
from bench.processes import Processes, Server, children, free_port

HERE = Path(__file__).parent
NODE_MODULES = HERE.parent.parent / "build" / "bench" / "node_modules"
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


class Missing(Exception):
    """A peer can't be measured; the text says what isn't there."""


def program(name: str) -> str:
    """Where a program is; servers are often where only root looks."""
    found = shutil.which(name) or shutil.which(name, path=_SBIN)
    if found is None:
        raise Missing(f"{name} isn't installed (make bench-deps)")
    return found


def nchan(processes: Processes) -> Server:
    """The module of nginx, with one worker; publishers post."""
    nginx = program("nginx")
    module = next((path for path in configs.NCHAN_MODULES if path.exists()), None)
    if module is None:
        raise Missing("nginx's module nchan isn't installed (make bench-deps)")
    port, folder = free_port(), processes.folder("nginx")
    config = folder / "nginx.conf"
    config.write_text(configs.nchan(module, folder, port))
    server = processes.listening([nginx, "-p", str(folder), "-c", str(config)], port, "nchan")
    return server._replace(pid=children(server.pid)[0])  # the worker


def nats(processes: Processes) -> Server:
    """nats-server; subscribers by WebSocket, the publisher by its own protocol over TCP."""
    port, publish_port = free_port(), free_port()
    config = processes.folder("nats-server") / "nats.conf"
    config.write_text(configs.nats(port, publish_port))
    return processes.listening([program("nats-server"), "-c", str(config)], port, "nats", publish_port)


def mosquitto(processes: Processes) -> Server:
    """The MQTT broker; subscribers by WebSocket, the publisher over TCP, at most once for all."""
    port, publish_port = free_port(), free_port()
    config = processes.folder("mosquitto") / "mosquitto.conf"
    config.write_text(configs.mosquitto(port, publish_port))
    return processes.listening([program("mosquitto"), "-c", str(config)], port, "mqtt", publish_port)


def socketio(processes: Processes) -> Server:
    """Socket.IO on Node.js, in the process of the application that publishes by ``io.emit``."""
    return _node(processes, "socket.io", "socketio")


def ws(processes: Processes) -> Server:
    """The package ws on Node.js, with the loop over all clients that its manual shows."""
    return _node(processes, "ws", "plain")


def websockets(processes: Processes) -> Server:
    """The package websockets, by its function broadcast()."""
    return _python(processes, "websockets", "plain-websocket")


def aiohttp(processes: Processes) -> Server:
    """Aiohttp's own WebSockets, one ``await send_str()`` after the other."""
    return _python(processes, "aiohttp", "plain")


PEERS: dict[str, Callable[[Processes], Server]] = {
    "nchan": nchan,
    "nats": nats,
    "mosquitto": mosquitto,
    "socketio": socketio,
    "ws": ws,
    "websockets": websockets,
    "aiohttp": aiohttp,
}


def _node(processes: Processes, package: str, protocol: str) -> Server:
    node = program("node")
    if not (NODE_MODULES / package).is_dir():
        raise Missing(f"the package {package} isn't in {NODE_MODULES} (make bench-deps)")
    script = HERE / f"{package.replace('.', '')}_server.cjs"
    return processes.telling(package, [node, str(script)], protocol, {"NODE_PATH": str(NODE_MODULES)})


def _python(processes: Processes, package: str, protocol: str) -> Server:
    if importlib.util.find_spec(package) is None:
        raise Missing(f"the package {package} isn't installed (make bench-deps)")
    return processes.telling(package, [sys.executable, "-m", f"bench.peers.{package}_server"], protocol)
