import socket
import socketserver
from contextlib import ExitStack

import pytest

from psengine_host.errors import EngineError
from psengine_host.toolkit.ports import free_port, reserved_port


class TestFreePort:
    def test_a_daemon_can_listen_on_it_at_once(self):
        with socket.create_server(("127.0.0.1", free_port())) as server:
            host, port = server.getsockname()
            with socket.create_connection((host, port), timeout=10):
                assert port >= 1024

    def test_one_in_use_is_never_given(self):
        with ExitStack() as stack:
            used = set()
            for _ in range(200):
                port = free_port()
                assert port not in used
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                used.add(port)

    def test_of_ipv6(self):
        with socket.socket(socket.AF_INET6) as server:
            server.bind(("::1", free_port("::1")))

    def test_of_a_name(self):
        assert 1024 <= free_port("localhost") <= 65535

    def test_of_all_addresses(self):
        with socket.create_server(("0.0.0.0", free_port("0.0.0.0"))):
            pass

    def test_an_address_of_another_machine(self):
        with pytest.raises(EngineError) as caught:
            free_port("192.0.2.1")
        assert str(caught.value) == (
            "no port on '192.0.2.1': Cannot assign requested address; name an address of this machine"
        )

    @pytest.mark.parametrize("host", ["no such host", "x" * 100, "a..b", "127.0.0.1\0"])
    def test_what_is_no_address(self, host):
        with pytest.raises(EngineError, match=r"^no port on '"):
            free_port(host)


class TestReservedPort:
    def test_nobody_else_is_given_it(self):
        with ExitStack() as stack:
            reserved = [stack.enter_context(reserved_port()) for _ in range(300)]
            assert len(set(reserved)) == 300
            assert not {free_port() for _ in range(300)} & set(reserved)

    def test_a_program_that_wants_it_for_itself_does_not_get_it(self):
        with reserved_port() as port, socket.socket() as greedy, pytest.raises(OSError, match="Address already in use"):
            greedy.bind(("127.0.0.1", port))

    def test_the_daemon_that_it_is_for_listens_on_it_and_answers(self):
        class Daemon(socketserver.TCPServer):
            allow_reuse_address = True

        with (
            reserved_port() as port,
            Daemon(("127.0.0.1", port), socketserver.BaseRequestHandler),
            socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        ):
            assert connection.getpeername()[1] == port

    def test_it_is_free_afterwards(self):
        with reserved_port() as port:
            pass
        with socket.socket() as server:
            server.bind(("127.0.0.1", port))

    def test_nothing_answers_there_until_the_daemon_does(self):
        with reserved_port() as port, pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=10)
