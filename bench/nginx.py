"""nginx as a plain reverse proxy, set as its users set it for streaming: no buffering, kept-alive upstream."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from bench.programs import Upstream, pinned
from bench.target import end, free_port, wait_ready

CONFIG = """
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log warn;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffering off;
  {servers}
}}
"""
SERVER = """
  upstream {mode} {{
    server 127.0.0.1:{upstream};
    keepalive 1024;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
  }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{mode}; }} }}
"""


class Nginx:
    """One worker; one port for each port of the upstream, because nginx does not look into bodies."""

    name = "nginx"
    passes_events = True

    def __init__(self, upstream: Upstream, core: int, home: Path) -> None:
        self._upstream, self._core, self._home = upstream, core, home
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Write the configuration and start it."""
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        if not Path(program).exists():
            raise RuntimeError("nginx is not installed: run `sh tools/system_packages.sh bench`")
        self._home.mkdir(parents=True)
        self._ports = {mode: free_port() for mode in ("burst", "paced")}
        servers = "".join(
            SERVER.format(mode=mode, port=port, upstream=self._upstream.port(mode))
            for mode, port in self._ports.items()
        )
        config, log = self._home / "nginx.conf", self._home / "error.log"
        config.write_text(CONFIG.format(home=self._home, servers=servers))
        self._process = subprocess.Popen(
            [program, "-p", self._home, "-e", log, "-c", config],
            preexec_fn=pinned(self._core),
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        wait_ready(f"http://127.0.0.1:{self._ports['burst']}/v1/models", self._process, log, 15)

    def pid(self) -> int | None:
        """The master, which costs nothing; its child is the worker."""
        return self._process.pid if self._process else None

    def port(self, mode: str) -> int:
        """The server in front of the mode's upstream port."""
        return self._ports["paced" if mode.startswith("paced") else "burst"]

    def model(self, mode: str) -> str:
        """The upstream takes any."""
        return "fake"

    def key(self) -> str:
        """Not looked at."""
        return "none"

    def stop(self) -> None:
        """End master and worker."""
        if self._process:
            end(self._process)
