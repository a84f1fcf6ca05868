"""Environment variables read with a type: a bad value names itself and what is allowed."""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


def bad_value(name: str, value: str, allowed: str) -> ImproperlyConfigured:
    """Make the one line that a bad variable ends the start with."""
    return ImproperlyConfigured(f"{name}={value!r} is not valid: allowed is {allowed}.")


def env_str(name: str, default: str = "") -> str:
    """Read a text; an empty variable counts as unset."""
    return os.environ.get(name, "").strip() or default


def env_secret(name: str) -> str:
    """Read a secret from NAME, or from the file that NAME_FILE names; empty if neither."""
    if value := env_str(name):
        return value
    path = env_str(f"{name}_FILE")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise bad_value(f"{name}_FILE", path, "a readable text file") from error


def env_folder(name: str, default: str) -> Path:
    """Read a folder's path, made absolute; the folder is made if it is missing."""
    path = Path(env_str(name, default)).resolve()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise bad_value(name, str(path), "a folder that can be written") from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise bad_value(name, str(path), "a folder that can be written")
    return path


def env_int(name: str, default: int, *, low: int, high: int) -> int:
    """Read a whole number between `low` and `high`, both allowed."""
    value = env_str(name)
    if not value:
        return default
    try:
        number = int(value)
    except ValueError as error:
        raise bad_value(name, value, f"a whole number {low} to {high}") from error
    if not low <= number <= high:
        raise bad_value(name, value, f"a whole number {low} to {high}")
    return number


def env_float(name: str, default: float, *, low: float, high: float) -> float:
    """Read a number between `low` and `high`, both allowed."""
    value = env_str(name)
    if not value:
        return default
    try:
        number = float(value)
    except ValueError as error:
        raise bad_value(name, value, f"a number {low:g} to {high:g}") from error
    if not low <= number <= high:  # NaN fails this, too
        raise bad_value(name, value, f"a number {low:g} to {high:g}")
    return number


def env_bool(name: str, *, default: bool) -> bool:
    """Read yes or no."""
    value = env_str(name).lower()
    if not value:
        return default
    if value not in TRUE | FALSE:
        raise bad_value(name, value, "true or false")
    return value in TRUE


def env_choice(name: str, default: str, allowed: Iterable[str]) -> str:
    """Read one of the allowed words."""
    value = env_str(name, default)
    words = list(allowed)
    if value not in words:
        raise bad_value(name, value, ", ".join(words))
    return value


def env_list(name: str, default: Iterable[str] = ()) -> list[str]:
    """Read a list separated by commas; blanks around items and empty items go."""
    value = env_str(name)
    if not value:
        return list(default)
    return [item.strip() for item in value.split(",") if item.strip()]


def env_file(name: str) -> Path | None:
    """Read the path of a file that can be read; None if unset."""
    value = env_str(name)
    if not value:
        return None
    path = Path(value).resolve()
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise bad_value(name, value, "a readable file")
    return path


def env_networks(name: str) -> tuple[Network, ...]:
    """Read a list of IP addresses and networks (10.0.0.0/8) separated by commas."""
    networks: list[Network] = []
    for item in env_list(name):
        try:
            networks.append(ipaddress.ip_network(item))
        except ValueError as error:
            raise bad_value(
                name, item, "addresses and networks such as 10.0.0.0/8"
            ) from error
    return tuple(networks)


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """Read a secret from its file, made with mode 0600 the first time.

    Safe when several processes start together: the first to link the file wins.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        draft.touch(mode=0o600)
        draft.write_text(make(), encoding="utf-8")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()
