"""From a request to one provider's answer: the attempt loop and what it works on."""

from __future__ import annotations

from gateway.dispatch.loop import Dispatcher
from gateway.dispatch.stream import OpenedStream
from gateway.dispatch.task import Task, Trace

__all__ = ["Dispatcher", "OpenedStream", "Task", "Trace"]
