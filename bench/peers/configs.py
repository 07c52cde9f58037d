"""Config files of the peers that have one: everything on loopback, nothing kept, and no limit in the way."""

import getpass
from pathlib import Path

NCHAN_MODULES = [
    Path(folder) / "ngx_nchan_module.so" for folder in ("/usr/lib/nginx/modules", "/usr/lib64/nginx/modules")
]


def nchan(module: Path, folder: Path, port: int) -> str:
    """One worker, which stays the user that it is started by, with room for all messages."""
    return f"""
load_module {module};
user {getpass.getuser()};
daemon off;
worker_processes 1;
worker_rlimit_nofile 1048576;
pid {folder}/nginx.pid;
error_log stderr error;
events {{
    worker_connections 65536;
    use epoll;
    multi_accept on;
}}
http {{
    access_log off;
    tcp_nodelay on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 128k;
    keepalive_timeout 1h;
    keepalive_requests 100000000;
    nchan_shared_memory_size 512m;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location = /subscribe {{
            nchan_subscriber websocket;
            nchan_channel_id news;
            nchan_subscriber_first_message newest;
            nchan_subscriber_timeout 0;
            nchan_websocket_ping_interval 0;
        }}
        location = /publish {{
            nchan_publisher;
            nchan_channel_id news;
            nchan_message_buffer_length 100;
            nchan_message_timeout 5m;
        }}
    }}
}}
"""


def nats(port: int, publish_port: int) -> str:
    """Without a short deadline for writes, by which it would cut clients that a busy machine holds up."""
    return f"""
host: 127.0.0.1
port: {publish_port}
max_connections: 1000000
max_pending: 256MB
write_deadline: "60s"
ping_interval: "1h"
websocket {{
    host: 127.0.0.1
    port: {port}
    no_tls: true
    compression: false
}}
"""


def mosquitto(port: int, publish_port: int) -> str:
    """Nothing is dropped for being too much."""
    return f"""
user {getpass.getuser()}
allow_anonymous true
persistence false
log_type error
log_dest stderr
set_tcp_nodelay true
max_queued_messages 0
max_queued_bytes 0
listener {port} 127.0.0.1
protocol websockets
listener {publish_port} 127.0.0.1
protocol mqtt
"""
