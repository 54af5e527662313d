"""How a server is reached, as a value that other processes of a run can be given."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_setups.api.client import Client


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """How a server is reached.

    Attributes:
        base_url: where it answers.
        api_key: the key that it is sent, None without one; never shown.
        timeout_s: the deadline of a request, in seconds.
    """

    base_url: str
    api_key: str | None = field(repr=False)
    timeout_s: float

    def client(self, connections: int = 1) -> Client:
        """A new client, for so many threads.

        Raises:
            ServerError: the environment's proxy cannot be used.
        """
        return Client(
            base_url=self.base_url,
            api_key=self.api_key,
            timeout_s=self.timeout_s,
            connections=connections,
        )
