"""The certificates a listener shows: chosen by the name a client asks for (SNI, RFC 6066), and
replaced as a whole while it listens.

Each handshake asks `Listener.shown` as it is at that moment, so one assignment swaps all of them:
new connections see the new ones, those that are open go on. Session tickets are made with keys of
the listener's own context, which stays; they hold over a swap, until the clients let them go.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenomics.errors import Invalid
from tokenomics.net.tls import bare_server_context, certificate_names, server_context


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate chain and its private key, PEM. `place` is the setting that names them."""

    cert_file: Path
    key_file: Path
    place: str = "server.tls"


@dataclass(frozen=True, slots=True)
class Shown:
    """Certificates that are loaded: the main one, and those of names.

    `exact` is by name, `below` by what follows the `*.` of a wildcard. `pem` is the main chain.
    """

    main: ssl.SSLContext
    exact: dict[str, ssl.SSLContext]
    below: dict[str, ssl.SSLContext]
    pem: bytes

    def context_for(self, name: str | None) -> ssl.SSLContext:
        """The context for a client that asks for a name, or for none. An exact name beats a
        wildcard, which stands for one label (RFC 6125 section 6.4.3)."""
        if name is None:
            return self.main
        name = name.lower()
        return self.exact.get(name) or self.below.get(name.partition(".")[2]) or self.main


def load_shown(main: Pair, others: Sequence[Pair] = ()) -> Shown:
    """Load certificates. The earlier one is shown for a name that several have.

    Raises Invalid with every fault.
    """
    faults: list[str] = []
    exact: dict[str, ssl.SSLContext] = {}
    below: dict[str, ssl.SSLContext] = {}
    contexts: list[ssl.SSLContext] = []
    for pair in (main, *others):
        try:
            contexts.append(server_context(pair.cert_file, pair.key_file))
            names = certificate_names(pair.cert_file)
            if not names and pair is not main:
                raise Invalid(f"{pair.cert_file} has no host name that a client could ask for")
        except Invalid as e:
            faults.append(f"{pair.place}: {e}")
            continue
        for name in names:
            table = below if name.startswith("*.") else exact
            table.setdefault(name.removeprefix("*."), contexts[-1])
    if faults:
        raise Invalid("\n".join(faults))
    return Shown(contexts[0], exact, below, main.cert_file.read_bytes())


class Listener:
    """The TLS side of one listener or several. `shown` may be replaced at any time; its owner is
    who made this."""

    def __init__(self, shown: Shown) -> None:
        self.shown = shown
        self.context = bare_server_context()
        self.context.sni_callback = self._choose

    def _choose(self, tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        """OpenSSL asks in every handshake, also if the client names nothing."""
        tls.context = self.shown.context_for(name)
