"""The Django admin as a person uses it: log in, fill a form, save; no browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

from typing_extensions import override

TIMEOUT_S = 20.0
Attributes = list[tuple[str, str | None]]


class Form(HTMLParser):
    """The values that a page's form would send as it stands."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.values: list[tuple[str, str]] = []
        self._select: str | None = None
        self._text: tuple[str, list[str]] | None = None
        self.feed(page)

    @override
    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        given = dict(attrs)
        name, value = given.get("name") or "", given.get("value") or ""
        match tag:
            case "input" if name and given.get("type") not in {
                "submit",
                "file",
                "image",
            }:
                if given.get("type") not in {"checkbox", "radio"}:
                    self.values.append((name, value))
                elif "checked" in given:
                    self.values.append((name, value or "on"))
            case "select":
                self._select = name
            case "option" if self._select and "selected" in given:
                self.values.append((self._select, value))
            case "textarea":
                self._text = (name, [])
            case _:
                pass

    @override
    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text[1].append(data)

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            self._select = None
        elif tag == "textarea" and self._text is not None:
            self.values.append((self._text[0], "".join(self._text[1]).lstrip("\n")))
            self._text = None


class AdminSession:
    """One administrator's cookies."""

    def __init__(self, url: str) -> None:
        """`url` is the server's, without /admin/."""
        self._url = url
        self._cookies = CookieJar()
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(self._cookies))

    def login(self, username: str, password: str) -> bool:
        """Try to enter; say whether it worked."""
        self._submit("login/", username=username, password=password, next="/admin/")
        return any(cookie.name == "sessionid" for cookie in self._cookies)

    def page(self, path: str) -> str:
        """Read a page below /admin/."""
        return self._open(Request(f"{self._url}/admin/{path}"))[1]  # noqa: S310 - our server

    def add(self, table: str, **fields: object) -> None:
        """Fill the form of a new row, everything else left as offered, and save."""
        address, page = self._submit(f"{table}/add/", **fields)
        assert not address.endswith("/add/"), errors_of(page)

    def id_of(self, table: str, name: str) -> int:
        """Find a row in its list by searching for its name."""
        page = self.page(f"{table}/?{urlencode({'q': name})}")
        found = re.search(rf"/admin/{table}/(\d+)/change/", page)
        assert found, f"{name} is not in the list of {table}"
        return int(found.group(1))

    def _submit(self, path: str, **fields: object) -> tuple[str, str]:
        form = Form(self.page(path)).values
        values = [(n, v) for n, v in form if n not in fields]
        values += [(name, str(value)) for name, value in fields.items()]
        address = f"{self._url}/admin/{path}"
        data = urlencode(values).encode()
        return self._open(Request(address, data, {"Referer": address}))  # noqa: S310 - our server

    def _open(self, request: Request) -> tuple[str, str]:
        response: Any = self._opener.open(request, timeout=TIMEOUT_S)
        assert isinstance(response, HTTPResponse)
        with response:
            return response.url, response.read().decode()


def errors_of(page: str) -> str:
    """Give what a refused form says is wrong."""
    found = re.findall(r"errorlist[^>]*>(.*?)</ul>", page, flags=re.DOTALL)
    return re.sub(r"<[^>]+>|\s+", " ", " ".join(found)) or page[:2000]
