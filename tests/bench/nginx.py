"""nginx, where it is installed: the plain proxy to compare with, and the cheapest of upstreams.

It runs in the foreground as a child, from a config and in a folder of its own: a master, which only
waits, and one worker.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from upstream import WHOLE
from world import Target, free_ports, running, wait_for

_SYSTEM = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"  # not in a user's PATH
_USER_ONLY_FOR_ROOT = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
_MAIN = """
daemon off;
%(user)s
worker_processes 1;
pid %(folder)s/pid;
error_log stderr error;
events { worker_connections 4096; }
http {
    access_log off;
    client_body_temp_path %(folder)s/body;
    proxy_temp_path %(folder)s/proxy;
    fastcgi_temp_path %(folder)s/fastcgi;
    uwsgi_temp_path %(folder)s/uwsgi;
    scgi_temp_path %(folder)s/scgi;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size 64m;  # in memory, as the proxy has them; it takes what a body needs
%(http)s
}
"""
# The certificate is the proxy's own, so that both sides sign with the same kind of key. Answers are
# passed on as they come, as the proxy does.
_PROXY = """
    upstream provider {
        server 127.0.0.1:%(upstream)d;
        keepalive 64;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:%(port)d backlog=1024;
        listen 127.0.0.1:%(tls_port)d ssl backlog=1024;
        ssl_certificate %(certs)s/server.crt;
        ssl_certificate_key %(certs)s/server.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {
            proxy_pass http://provider;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
"""
_CANNED = """
    server {
        listen 127.0.0.1:%(port)d backlog=1024;
        default_type application/json;
        location / { return 200 '%(body)s'; }
    }
"""


def find() -> str | None:
    """Where nginx is installed; None if it isn't."""
    return shutil.which("nginx", path=_SYSTEM)


@contextlib.contextmanager
def plain_proxy(
    program: str, folder: Path, upstream_port: int, core: set[int], proxied: Target
) -> Iterator[Target]:
    """nginx before an upstream. It does nothing with a token, and gets the same one."""
    port, tls_port = free_ports(2)
    http = _PROXY % {
        "upstream": upstream_port,
        "port": port,
        "tls_port": tls_port,
        "certs": folder / "certs",
    }
    with _nginx(program, folder / "nginx", http, port, core) as pid:
        yield Target(port, tls_port, proxied.token, pid)


@contextlib.contextmanager
def canned(program: str, folder: Path, core: set[int]) -> Iterator[Target]:
    """An upstream that gives a small answer to whatever it is asked."""
    (port,) = free_ports(1)
    body = WHOLE.partition(b"\r\n\r\n")[2].decode()
    http = _CANNED % {"port": port, "body": body}
    with _nginx(program, folder / "canned", http, port, core) as pid:
        yield Target(port, pid=pid)


@contextlib.contextmanager
def _nginx(program: str, folder: Path, http: str, port: int, core: set[int]) -> Iterator[int]:
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(
        _MAIN % {"user": _USER_ONLY_FOR_ROOT, "folder": folder, "http": http}, encoding="utf-8"
    )
    command = [program, "-p", str(folder), "-c", str(config), "-e", "stderr"]
    with (
        open(folder / "stderr", "w+", encoding="utf-8") as errors,
        running(command, core, stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        wait_for("nginx", process, port, errors)
        yield process.pid
