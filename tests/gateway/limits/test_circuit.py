"""The circuit in front of Redis: five failures, then waits that double."""

from __future__ import annotations

from gateway.limits.circuit import Circuit


def closed() -> Circuit:
    circuit = Circuit(5.0, 30.0)
    circuit.succeeded()
    return circuit


def test_it_begins_open_with_a_try_due_at_once():
    circuit = Circuit(5.0, 30.0)
    assert not circuit.is_closed
    assert circuit.try_at_s <= 0.0


def test_five_failures_in_a_row_open_it():
    circuit = closed()
    for _ in range(4):
        circuit.failed(0.0)
    circuit.succeeded()
    for _ in range(4):
        circuit.failed(0.0)
    states = [circuit.is_closed]
    circuit.failed(0.0)
    states.append(circuit.is_closed)
    assert states == [True, False]
    assert circuit.try_at_s == 5.0


def test_each_failed_try_doubles_the_wait_up_to_the_longest():
    circuit, now_s, waits = Circuit(5.0, 30.0), 0.0, []
    for _ in range(5):
        circuit.failed(now_s)
        waits.append(circuit.try_at_s - now_s)
        now_s = circuit.try_at_s
    assert waits == [5, 10, 20, 30, 30]


def test_calls_that_were_under_way_when_it_opened_do_not_lengthen_the_wait():
    circuit = closed()
    for _ in range(60):
        circuit.failed(1.0)
    assert circuit.try_at_s == 6.0


def test_a_success_forgets_the_waits():
    circuit = Circuit(5.0, 30.0)
    for now_s in (0.0, 5.0, 15.0):
        circuit.failed(now_s)
    circuit.succeeded()
    for _ in range(5):
        circuit.failed(100.0)
    assert circuit.try_at_s == 105.0
