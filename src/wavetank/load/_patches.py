"""What is changed in Locust and gevent inside a load child, and nothing else.

Three methods of ``TaskSet`` lead users through the gate; a resolver in front of gevent's sends connections
to the target's virtual host to the gateway's address, as curl's ``--connect-to`` does, so that URLs,
cookies, redirects and the Host header stay those of production. A virtual host's other ports are refused:
a rehearsal must never reach the real site.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import gevent
from locust import TaskSet
from locust.exception import StopUser
from locust.user.users import PytestUser

from wavetank.load.gate import Gate, Run

__all__ = ["lead_through", "route_connections"]


def lead_through(gate: Gate) -> None:
    """Make every run of a task pass the gate. Nested task sets are no runs: the tasks inside them are."""
    task_set: Any = TaskSet
    execute, wait = task_set.execute_next_task, task_set.wait

    def execute_next_task(self: Any) -> None:
        task = self._task_queue[0]
        if isinstance(task, type) and issubclass(task, TaskSet):
            execute(self)
        else:
            gate.run(self.user, lambda: execute(self))

    def wait_between_tasks(self: Any) -> None:
        if gate.scheduled and not _inside_task():
            if self.user._state == "stopping":
                raise StopUser()
            return  # the next run waits at the gate
        wait(self)

    def sleep(self: Any, seconds: float) -> None:
        if _inside_task():
            gevent.sleep(seconds)
        else:
            gate.pause(seconds)

    task_set.execute_next_task = execute_next_task
    task_set.wait = wait_between_tasks
    task_set._sleep = sleep


def lead_pytest_through(gate: Gate, user_class: type[PytestUser]) -> None:
    """Test functions used as a locustfile: each call of one is a run."""
    for function in user_class.functions:
        function.obj = _gated(gate, function.obj)


def _gated(gate: Gate, call: Callable[..., Any]) -> Callable[..., Any]:
    def run(*arguments: Any) -> None:
        gate.run(gevent.getcurrent().args[0], lambda: call(*arguments))

    return run


def _inside_task() -> bool:
    run: Run | None = getattr(gevent.getcurrent(), "wavetank_run", None)
    return run is not None and run.inside


class _RoutedResolver:
    """gevent's resolver, but for the hosts of ``routes``."""

    def __init__(self, resolver: Any, routes: dict[str, dict[int, tuple[str, int]]]) -> None:
        self._resolver = resolver
        self._routes = routes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resolver, name)

    def getaddrinfo(self, host: Any, port: Any, *arguments: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        ports = self._routes.get(name.lower().rstrip(".")) if isinstance(name, str) else None
        if ports is None:
            return self._resolver.getaddrinfo(host, port, *arguments, **more)
        address = ports.get(int(port or 0))
        if address is None:
            served = ", ".join(map(str, sorted(ports)))
            raise OSError(
                errno.ECONNREFUSED,
                f"{os.strerror(errno.ECONNREFUSED)}: {name}:{port} is not rehearsed, only port {served} is",
            )
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]


def route_connections(routes: dict[str, dict[int, tuple[str, int]]]) -> None:
    """Send connections to host and port to another address: ``{host: {port: (ip, port)}}``."""
    hub = gevent.get_hub()
    hub.resolver = _RoutedResolver(hub.resolver, routes)
