"""What the config and the environment say of connections out: to providers, targets, the centre."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokenomics.config.providers import Provider, build_providers
from tokenomics.config.settings import Config
from tokenomics.config.settings import Upstream as UpstreamSettings
from tokenomics.errors import Invalid
from tokenomics.net.client import Patience
from tokenomics.net.pool import PoolLimits
from tokenomics.net.proxies import Proxies
from tokenomics.net.tls import client_context


def make_proxies(env: Mapping[str, str]) -> Proxies:
    """HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Raises Invalid, which names the variable."""
    try:
        return Proxies.from_env(env)
    except ValueError as e:
        raise Invalid(str(e)) from None


def make_pool_limits(settings: UpstreamSettings) -> PoolLimits:
    """The bounds of kept connections."""
    return PoolLimits(idle=settings.idle, max_open=settings.max_connections)


def make_patience(settings: UpstreamSettings) -> Patience:
    """How long a call to a provider waits for what no policy bounds."""
    return Patience(
        connect=settings.connect_timeout,
        handshake=settings.handshake_timeout,
        write=settings.write_timeout,
    )


def check(config: Config, env: Mapping[str, str]) -> None:
    """Judge all that connections out are made from. Raises Invalid with every fault."""
    faults: list[str] = []
    providers: Mapping[str, Provider] = {}
    try:
        providers = build_providers(config.providers)
    except Invalid as e:
        faults.append(str(e))
    try:
        make_proxies(env)
    except Invalid as e:
        faults.append(str(e))
    for place, files in _files(config, providers):
        try:
            client_context.__wrapped__(**files)  # the files as they are now, not as remembered
        except Invalid as e:
            faults.append(f"{place}: {e}")
    if faults:
        raise Invalid("\n".join(faults))


def _files(
    config: Config, providers: Mapping[str, Provider]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each setting that names files, and the files as `client_context` takes them."""
    named = [(f"providers.{provider.name}", provider.ca_file) for provider in providers.values()]
    named += [
        (f"events.webhooks[{i}]", hook.ca_file) for i, hook in enumerate(config.events.webhooks)
    ]
    named.append(("remote", config.remote.ca_file))
    for place, ca_file in named:
        if ca_file:
            yield f"{place}.ca_file", {"ca_file": ca_file}
    for provider in providers.values():
        if provider.cert_file:
            pair = {"cert_file": provider.cert_file, "key_file": provider.key_file}
            yield f"providers.{provider.name}.cert_file", pair
