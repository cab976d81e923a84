"""Fake services: real processes under real guards, in milliseconds instead of Prefect's seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable

from labelproof.stack.services import Context, Service

STUBBORN = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open('ready','w').close(); time.sleep(300)"
SLEEPER = "import time; time.sleep(300)"

# A parent whose child starts a session of its own, as Prefect's flow runs do.
WITH_CHILD = (
    "import subprocess,sys,time\n"
    "subprocess.Popen([sys.executable,'-c','import time; time.sleep(300)'], start_new_session=True)\n"
    "open('ready','w').close()\n"
    "time.sleep(300)"
)


def python_service(
    name: str, code: str, *, ready: Callable[[Context], bool] = lambda _: True, grace_s: float = 2.0
) -> Service:
    """Return a service that runs ``code``; its working directory is the root."""
    return Service(
        name=name,
        command=lambda _: [sys.executable, "-c", code],
        ready=ready,
        ready_timeout_s=10.0,
        grace_s=grace_s,
    )


HTTP_SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"true")
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def http_server_service() -> Service:
    """Return a server that is healthy and can nothing else."""
    return Service(
        name="server",
        command=lambda ctx: [sys.executable, "-c", HTTP_SERVER, str(ctx.port)],
        ready=lambda _: True,
        grace_s=2.0,
        needs_database=True,
    )
