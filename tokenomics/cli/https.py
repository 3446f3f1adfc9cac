"""The certificates of a node's HTTPS listener: from `server.tls` to what it shows, their change by
a reload, and the renewal of the own one."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import trio

from tokenomics.config.settings import Tls
from tokenomics.errors import Failed, ToolError
from tokenomics.logs import Log
from tokenomics.net.shown import Listener, Pair, Shown, load_shown
from tokenomics.net.tls import ensure_certificate, utc_now

LOOK_SECONDS = 3600.0  # between looks at the own certificate, which is renewed weeks before its end


@dataclass(frozen=True, slots=True)
class Loaded:
    """What `server.tls` comes to. `ca_file` is the own CA, None if there is none."""

    settings: Tls
    shown: Shown
    ca_file: Path | None


def load(settings: Tls, now: datetime) -> Loaded:
    """Read certificates, or make the own one. Raises Failed or Invalid."""
    if settings.cert_file or not settings.auto_gen:
        if not (settings.cert_file and settings.key_file):
            raise Failed("server.tls needs cert_file and key_file, or auto_gen: true")
        main = Pair(Path(settings.cert_file), Path(settings.key_file))
        ca_file = None
    else:
        main = Pair(*ensure_certificate(settings.cert_dir, settings.hosts, now))
        ca_file = settings.cert_dir / "ca.crt"
    others = [
        Pair(Path(c.cert_file), Path(c.key_file), f"server.tls.certificates[{i}]")
        for i, c in enumerate(settings.certificates)
    ]
    return Loaded(settings, load_shown(main, others), ca_file)


class Https:
    """Owns what the HTTPS listeners of a node show. `clock` tells the time of day."""

    def __init__(self, settings: Tls, clock: Callable[[], datetime] = utc_now) -> None:
        """Raises Failed or Invalid."""
        self._clock = clock
        self._reading = threading.Lock()  # a renewal and a reload must not both make one
        self._loaded = self.read(settings)
        self._listener = Listener(self._loaded.shown)
        self._problem = ""  # what was said of a renewal that failed

    @property
    def context(self) -> ssl.SSLContext:
        """For the listeners; always the same."""
        return self._listener.context

    @property
    def ca_file(self) -> Path | None:
        """The own CA, None if there is none."""
        return self._loaded.ca_file

    def read(self, settings: Tls) -> Loaded:
        """What these settings come to now; for `use`. Raises Failed or Invalid."""
        with self._reading:
            return load(settings, self._clock())

    def use(self, loaded: Loaded) -> None:
        """Show other certificates from the next handshake on."""
        self._loaded = loaded
        self._listener.shown = loaded.shown

    async def run(self, log: Log, renewed: Callable[[], None] = lambda: None) -> None:
        """Keep the own certificate fresh, for ever. `renewed` is called when there is a new one."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            before = self._loaded
            await self.renew(log)
            if self._loaded is not before:
                renewed()

    async def renew(self, log: Log) -> None:
        """Renew the own certificate if it nears its end. A failure is logged once; the next look
        tries again."""
        before = self._loaded
        if before.ca_file is None:
            return
        try:
            loaded = await trio.to_thread.run_sync(self.read, before.settings)
        except ToolError as e:
            if str(e) != self._problem:
                log.say("error", f"the TLS certificate could not be renewed, every hour anew: {e}")
            self._problem = str(e)
            return
        self._problem = ""
        if (
            self._loaded is before and loaded.shown.pem != before.shown.pem
        ):  # no reload came between
            self.use(loaded)
            log.say("info", "the TLS certificate was renewed; new connections see it")
