"""The proxy that stands between this machine and a server, and who names it.

As with curl and httpx, a server on this machine is reached through the proxy too, unless ``NO_PROXY`` names
it: whoever watches the traffic with a proxy of his own would otherwise see nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from pytest_setups.redaction import redact_url

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True, slots=True)
class ServerProxy:
    """The proxy on the way to a server: its address, the setting that names it, the server's host."""

    url: str
    source: str
    host: str

    @classmethod
    def of(cls, url: httpx.URL) -> Self | None:
        """The proxy that the environment names for this address, None without a proxy."""
        # With the port: NO_PROXY may have localhost:8000.
        if proxy_bypass(url.netloc.decode("ascii")) or proxy_bypass(url.host):
            return None
        proxies = getproxies()
        kind = url.scheme if proxies.get(url.scheme) else "all"
        address = proxies.get(kind)
        if not address:
            return None
        names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
        source = next((name for name in names if os.environ.get(name) == address), "the system's settings")
        # As curl, which takes a bare host and port.
        return cls(address if "://" in address else f"http://{address}", source, url.host)

    def __str__(self) -> str:
        return f"the proxy {redact_url(self.url)} that {self.source} names"

    def connection(self) -> httpcore.Proxy:
        """The proxy as httpcore takes it.

        Raises:
            httpcore.UnsupportedProtocol: it is of another kind than HTTP.
            httpx.InvalidURL: its address is not a URL.
        """
        proxy = httpx.URL(self.url)
        if proxy.scheme not in {"http", "https"}:
            message = (
                f"{self} is of kind {proxy.scheme}, not http; to go without it, add {self.host} to NO_PROXY"
            )
            raise httpcore.UnsupportedProtocol(message)
        # httpcore takes no user and password from a proxy's URL.
        auth = (proxy.username, proxy.password) if proxy.userinfo else None
        return httpcore.Proxy(str(proxy.copy_with(userinfo=None)), auth=auth)
