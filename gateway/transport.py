"""httpx's transport interface over an aiohttp connection pool.

Several times faster under concurrency than httpx's own. No cookies, no proxies from the
environment, no redirects, no automatic headers, and exceptions that say whether the
request may have reached the provider. Names are resolved once, every address is checked,
and the connection goes to a checked address.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from typing_extensions import override
from yarl import URL

from gateway.addresses import AddressRefused, check_ip

KEEPALIVE_S = 30.0  # below the 60 s after which common servers close an idle connection
NO_AUTOMATIC_HEADERS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")


class GuardedResolver(AbstractResolver):
    """Resolves names and refuses addresses that no provider may have."""

    def __init__(self) -> None:
        """Resolve through the system's resolver, in a thread."""
        self._resolver = aiohttp.ThreadedResolver()

    @override
    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Give the addresses of a name; one refused address refuses the name."""
        found = await self._resolver.resolve(host, port, family)
        for result in found:
            check_ip(result["host"])
        return found

    @override
    async def close(self) -> None:
        """Nothing is held."""
        await self._resolver.close()


@contextlib.contextmanager
def mapped_errors(request: httpx.Request) -> Iterator[None]:
    """Turn aiohttp's errors into httpx's.

    ConnectError and ConnectTimeout: never sent. RemoteProtocolError: sent, and the
    connection closed without an answer. ReadError: broken while the answer came.
    """
    try:
        yield
    except AddressRefused as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except (aiohttp.ConnectionTimeoutError, aiohttp.SocketTimeoutError) as error:
        kind = (
            httpx.ConnectTimeout
            if isinstance(error, aiohttp.ConnectionTimeoutError)
            else httpx.ReadTimeout
        )
        raise kind(str(error), request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except (aiohttp.ServerDisconnectedError, ConnectionResetError) as error:
        if isinstance(getattr(error, "message", None), aiohttp.http.RawResponseMessage):
            # Closed inside the headers: there was an answer, so no socket went stale.
            raise httpx.ReadError(
                "closed inside the headers", request=request
            ) from error
        raise httpx.RemoteProtocolError(str(error), request=request) from error
    except aiohttp.ClientHttpProxyError as error:
        raise httpx.ProxyError(str(error.status), request=request) from error
    except (aiohttp.ClientPayloadError, aiohttp.ClientOSError) as error:
        raise httpx.ReadError(str(error), request=request) from error
    except aiohttp.ClientError as error:
        raise httpx.DecodingError(str(error), request=request) from error


@dataclass(frozen=True, slots=True)
class Route:
    """How a request gets to its server, in aiohttp's words: prepared once, used often."""

    url: URL
    headers: CIMultiDict[str] = field(repr=False)
    timeout: aiohttp.ClientTimeout
    tls: ssl.SSLContext | bool = field(default=True, repr=False)
    proxy: str | None = field(default=None, repr=False)


def route_to(
    url: str,
    headers: Iterable[tuple[str, str]],
    *,
    connect_timeout_s: float | None,
    tls: ssl.SSLContext | None = None,
    proxy: str | None = None,
) -> Route:
    """Prepare a route; without a context the system's authorities are trusted."""
    return Route(
        url=URL(url),
        headers=CIMultiDict(headers),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
        tls=True if tls is None else tls,
        proxy=proxy,
    )


class ResponseBody(httpx.AsyncByteStream):
    """The bytes of an answer as they arrive."""

    def __init__(
        self, response: aiohttp.ClientResponse, request: httpx.Request
    ) -> None:
        """Wrap an answer whose headers have arrived."""
        self._response = response
        self._request = request

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield what arrived, one read at a time."""
        with mapped_errors(self._request):
            async for chunk in self._response.content.iter_any():
                yield chunk

    @override
    async def aclose(self) -> None:
        """Give the connection back, or close it if the answer is not read to its end."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One pool for every provider; connections are kept by host, TLS and proxy.

    A request's `extensions` hold its `route` and its `content`, which are what is sent.
    Use it in one event loop only.
    """

    def __init__(self) -> None:
        """Make nothing yet: the pool needs the running loop, so the first request makes it."""
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0,
                    keepalive_timeout=KEEPALIVE_S,
                    resolver=GuardedResolver(),
                    enable_cleanup_closed=False,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=NO_AUTOMATIC_HEADERS,
                read_bufsize=256 * 1024,
                max_line_size=16 * 1024,
                max_field_size=32 * 1024,
            )
        return self._session

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the answer's body is still to come.

        Raises:
            httpx.TransportError: See `mapped_errors`.

        """
        route: Route = request.extensions["route"]
        with mapped_errors(request):
            response = await self._open().request(
                request.method,
                route.url,
                headers=route.headers,
                data=request.extensions["content"],
                allow_redirects=False,
                proxy=route.proxy,
                ssl=route.tls,
                timeout=route.timeout,
            )
        return httpx.Response(
            response.status,
            headers=response.raw_headers,
            stream=ResponseBody(response, request),
            request=request,
        )

    @override
    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            # TLS connections need one turn of the loop to say goodbye.
            await asyncio.sleep(0)
