"""The one place that speaks HTTP to providers; maps every failure to `UpstreamError`."""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import logging
import ssl
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import httpx

from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.snapshot import Provider
from gateway.transport import AiohttpTransport, Route, route_to

logger = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ERROR_BYTES = 256 * 1024
MAX_RETRY_AFTER_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Incoming:
    """An answer whose body is still to come. Close it, whatever happens."""

    def __init__(self, response: httpx.Response) -> None:
        """Wrap httpx's answer."""
        self._response = response
        self.status = response.status_code

    @property
    def content_type(self) -> str:
        """The media type without parameters, lower-case; empty if not given."""
        given: str = self._response.headers.get("content-type", "")
        return given.partition(";")[0].strip().lower()

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers; look-ups ignore case."""
        return self._response.headers

    async def read(self, limit_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """Read the whole body, decompressed.

        Raises:
            UpstreamError: INVALID_RESPONSE if it breaks off or passes the limit.

        """
        parts, size = [], 0
        async for chunk in self.chunks():
            size += len(chunk)
            if size > limit_bytes:
                raise UpstreamError(
                    Fault.INVALID_RESPONSE, "The provider's answer is too large."
                )
            parts.append(chunk)
        return b"".join(parts)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives, decompressed; raises like `read`."""
        with mapped_errors():
            encoding = self._response.headers.get("content-encoding", "identity")
            is_plain = encoding == "identity"
            stream = self._response.stream
            assert isinstance(stream, httpx.AsyncByteStream)
            # httpx's own loop over a body that is not encoded copies every chunk twice.
            chunks = stream if is_plain else self._response.aiter_bytes()
            async for chunk in chunks:
                yield chunk

    def retry_after_s(self) -> float | None:
        """Seconds the provider asks us to wait; None if it does not say."""
        return parse_retry_after(
            self._response.headers.get("retry-after-ms"),
            self._response.headers.get("retry-after"),
            now=datetime.now(UTC),
        )

    async def aclose(self) -> None:
        """Stop the provider if it is still sending, else keep the connection."""
        await self._response.aclose()


class Upstream:
    """Sends requests to providers. Use it in one event loop only."""

    def __init__(self) -> None:
        """No connection is made before the first request."""
        self._transport = AiohttpTransport()

    async def send(
        self,
        provider: Provider,
        url: str,
        body: bytes | None,
        *,
        connect_timeout_s: float,
    ) -> Incoming:
        """POST a JSON body (GET without one) with the provider's headers.

        The caller bounds the time that the answer may take.

        Raises:
            UpstreamError: UNREACHABLE, STALE_CONNECTION or INVALID_RESPONSE.

        """
        request = request_for(
            "GET" if body is None else "POST",
            prepared(
                url,
                provider.headers,
                connect_timeout_s=connect_timeout_s,
                ca_file=provider.ca_file,
                proxy_url=provider.proxy_url,
            ),
            body,
        )
        with mapped_errors():
            return Incoming(await self._transport.handle_async_request(request))

    async def get(self, provider: Provider, url: str, *, timeout_s: float) -> Reply:
        """Ask for something small and read it whole.

        Raises:
            UpstreamError: UNREACHABLE, TIMEOUT, STALE_CONNECTION or INVALID_RESPONSE.

        """
        return await self._whole(provider, url, None, timeout_s=timeout_s)

    async def post(
        self, provider: Provider, url: str, body: bytes, *, timeout_s: float
    ) -> Reply:
        """Send something small and read the answer whole; raises like `get`."""
        return await self._whole(provider, url, body, timeout_s=timeout_s)

    async def notify(self, url: str, body: bytes, *, timeout_s: float) -> int:
        """POST JSON to somebody who is no provider; give the status, whatever it is.

        The caller has checked `url`; its addresses are checked when it is resolved.

        Raises:
            UpstreamError: UNREACHABLE, TIMEOUT, STALE_CONNECTION or INVALID_RESPONSE.

        """
        request = request_for(
            "POST",
            prepared(
                url,
                (("content-type", "application/json"),),
                connect_timeout_s=timeout_s,
            ),
            body,
        )
        try:
            async with asyncio.timeout(timeout_s):
                with mapped_errors():
                    response = await self._transport.handle_async_request(request)
                await response.aclose()
        except TimeoutError as error:
            raise UpstreamError(
                Fault.TIMEOUT, f"No answer came within {timeout_s:g} s."
            ) from error
        return response.status_code

    async def _whole(
        self, provider: Provider, url: str, body: bytes | None, *, timeout_s: float
    ) -> Reply:
        try:
            async with asyncio.timeout(timeout_s):
                incoming = await self.send(
                    provider,
                    url,
                    body,
                    connect_timeout_s=provider.timeouts.connect_s,
                )
                try:
                    whole = await incoming.read()
                finally:
                    await incoming.aclose()
        except TimeoutError as error:
            raise UpstreamError(
                Fault.TIMEOUT, f"The provider did not answer within {timeout_s:g} s."
            ) from error
        return Reply(
            incoming.status, {k.lower(): v for k, v in incoming.headers.items()}, whole
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()


@contextlib.contextmanager
def mapped_errors() -> Iterator[None]:
    """Turn httpx's errors into ours; our words, never the library's."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        logger.debug("unreachable", exc_info=error)
        raise UpstreamError(
            Fault.UNREACHABLE, "The provider could not be reached."
        ) from error
    except httpx.RemoteProtocolError as error:
        raise UpstreamError(
            Fault.STALE_CONNECTION, "The provider closed the connection."
        ) from error
    except httpx.TimeoutException as error:
        raise UpstreamError(
            Fault.TIMEOUT, "The provider did not answer in time."
        ) from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        logger.debug("broken answer", exc_info=error)
        raise UpstreamError(
            Fault.INVALID_RESPONSE, "The provider's answer broke off."
        ) from error


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all requests to one URL have in common."""

    url: httpx.URL
    headers: httpx.Headers = field(repr=False)
    route: Route


@lru_cache(maxsize=4096)
def prepared(
    url: str,
    headers: tuple[tuple[str, str], ...],
    *,
    connect_timeout_s: float,
    ca_file: str | None = None,
    proxy_url: str | None = None,
) -> Prepared:
    """Parse and encode once; identity, so that streams come unbuffered."""
    sent = [("accept-encoding", "identity"), ("user-agent", "ailb"), *headers]
    return Prepared(
        url=httpx.URL(url),
        headers=httpx.Headers(sent),
        route=route_to(
            url,
            sent,
            connect_timeout_s=connect_timeout_s,
            tls=tls_context(ca_file),
            proxy=proxy_url,
        ),
    )


def request_for(method: str, known: Prepared, body: bytes | None) -> httpx.Request:
    """Make a request; given a stream, httpx does not encode anything once more."""
    return httpx.Request(
        method,
        known.url,
        headers=known.headers,
        stream=httpx.ByteStream(body or b""),
        extensions={"route": known.route, "content": body},
    )


@lru_cache(maxsize=256)
def tls_context(ca_file: str | None) -> ssl.SSLContext | None:
    """Load an operator's authorities; None leaves it to the system's."""
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UpstreamError(
            Fault.UNREACHABLE, f"The CA file {ca_file} cannot be read."
        ) from error


def parse_retry_after(
    milliseconds: str | None, value: str | None, *, now: datetime
) -> float | None:
    """Read Retry-After (seconds or an HTTP date) or retry-after-ms, in seconds.

    None for what is missing, negative or garbage; at most a day.
    """
    for text, unit_s in ((milliseconds, 0.001), (value, 1.0)):
        try:
            wait_s = float(text or "") * unit_s
        except ValueError:
            continue
        return min(wait_s, MAX_RETRY_AFTER_S) if wait_s >= 0 else None
    try:
        date = email.utils.parsedate_to_datetime(value or "")
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max((date - now).total_seconds(), 0.0), MAX_RETRY_AFTER_S)
