"""Which of CPython's asyncio tests are run on headrace, and which are not, with the reason.

Names are those of the interpreter's own test.test_asyncio; what a version of Python does not have
is passed over.  Everything in MODULES runs, except what stands in NOT_RUN.  What stands in
EXPECTED_FAILURES runs as well and must fail, on every model: the list cannot outlive its reasons.
What stands in NEEDS_CAPABILITY runs on the models that declare the capability.
"""

MODULES = (
    "test_base_events",
    "test_buffered_proto",
    "test_context",
    "test_eager_task_factory",
    "test_events",
    "test_futures",
    "test_futures2",
    "test_locks",
    "test_pep492",
    "test_protocols",
    "test_queues",
    "test_runners",
    "test_selector_events",
    "test_sendfile",
    "test_server",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_staggered",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_tasks",
    "test_threads",
    "test_timeouts",
    "test_transports",
    "test_unix_events",
    "test_waitfor",
)

# Not left out but run once: the same tests on the other selectors of stock asyncio.
SAME_TESTS = frozenset(
    f"{module}.{selector}EventLoopTests"
    for module in ("test_events", "test_sendfile", "test_sock_lowlevel")
    for selector in ("Poll", "Select")
)

# White-box tests: whole classes that never ask for a loop, and single tests.

ITS_OWN_CLASS = "names, makes and looks into a class of stock asyncio"
NOT_RUN = {
    "test_base_events.BaseEventLoopTests": ITS_OWN_CLASS,
    "test_base_events.BaseLoopSockSendfileTests": ITS_OWN_CLASS,
    "test_selector_events.BaseSelectorEventLoopTests": ITS_OWN_CLASS,
    "test_selector_events.SelectorDatagramTransportTests": ITS_OWN_CLASS,
    "test_selector_events.SelectorSocketTransportBufferedProtocolTests": ITS_OWN_CLASS,
    "test_selector_events.SelectorSocketTransportTests": ITS_OWN_CLASS,
    "test_selector_events.SelectorTransportTests": ITS_OWN_CLASS,
    "test_unix_events.UnixReadPipeTransportTests": ITS_OWN_CLASS,
    "test_unix_events.UnixWritePipeTransportTests": ITS_OWN_CLASS,
}

MOCKED_SOCKET = "puts a mock in place of the socket; headrace hands descriptors to the kernel"
MOCKED_SIGNAL = "puts a mock in place of asyncio.unix_events.signal, which headrace does not use"
MOCKED_SENDFILE = "calls or mocks private methods by which stock asyncio does sendfile"
EXPECTED_FAILURES: dict[str, dict[str, str]] = {
    "test_base_events.BaseEventLoopWithSelectorTests": {
        "test_accept_connection_exception": "calls loop._accept_connection()",
        "test_accept_connection_retry": "calls loop._accept_connection()",
        **dict.fromkeys(
            (
                "test_create_connection_bluetooth",
                "test_create_connection_ip_addr",
                "test_create_connection_ipv6_scope",
                "test_create_connection_no_inet_pton",
                "test_create_connection_service_name",
                "test_create_server_soreuseport_only_defined",
            ),
            MOCKED_SOCKET,
        ),
    },
    "test_events.EPollEventLoopTests": {
        "test_timeout_rounding": "counts calls of loop._run_once()",
    },
    "test_unix_events.SelectorEventLoopSignalTests": dict.fromkeys(
        (
            "test_add_signal_handler_install_error",
            "test_add_signal_handler_install_error2",
            "test_add_signal_handler_install_error3",
            "test_add_signal_handler_setup_error",
            "test_close",
            "test_close_on_finalizing",
            "test_remove_signal_handler",
            "test_remove_signal_handler_2",
            "test_remove_signal_handler_error",
            "test_remove_signal_handler_error2",
        ),
        MOCKED_SIGNAL,
    ),
    "test_unix_events.SelectorEventLoopUnixSockSendfileTests": dict.fromkeys(
        (
            "test_sock_sendfile_blocking_error",
            "test_sock_sendfile_cancel1",
            "test_sock_sendfile_cancel2",
            "test_sock_sendfile_exception",
            "test_sock_sendfile_not_available",
            "test_sock_sendfile_os_error_first_call",
            "test_sock_sendfile_os_error_next_call",
        ),
        MOCKED_SENDFILE,
    ),
    "test_unix_events.SelectorEventLoopUnixSocketTests": {
        "test_create_unix_server_bind_error": MOCKED_SOCKET,
    },
}

# Tests that take for granted what not every model declares, and are skipped on those.
ENDED_BY_THEN = "looks, when its coroutine has ended, for what a send or a receive has left by then"
NEEDS_CAPABILITY: dict[str, dict[str, dict[str, str]]] = {
    "prompt": {
        "test_sendfile.EPollEventLoopTests": {
            "test_sendfile_close_peer_in_the_middle_of_receiving": ENDED_BY_THEN,
        },
        "test_ssl.TestSSL": {"test_create_connection_memory_leak": ENDED_BY_THEN},
        "test_sslproto.SelectorStartTLSTests": {
            "test_create_connection_memory_leak": ENDED_BY_THEN,
            "test_start_tls_client_reg_proto_1": ENDED_BY_THEN,
        },
        "test_streams.StreamTests": {
            "test_async_writer_api_exception_after_close": ENDED_BY_THEN,
            "test_unhandled_exception": "closes a server, and counts on what it had not accepted",
            "test_unhandled_exceptions": "closes a server, and counts on what it had not accepted",
        },
    },
}

# Tests of futures, tasks and the like, which make no loop or one of their own: run on one model,
# for what they are worth, and not counted.
MAKES_NO_LOOP = frozenset(
    (
        "test_base_events.BaseEventTests",
        "test_base_events.TestSelectorUtils",
        "test_events.TimerTests",
        "test_futures.CFutureDoneCallbackTests",
        "test_futures.CFutureInheritanceTests",
        "test_futures.CFutureTests",
        "test_futures.CSubFutureDoneCallbackTests",
        "test_futures.CSubFutureTests",
        "test_futures.DuckTests",
        "test_futures.PyFutureDoneCallbackTests",
        "test_futures.PyFutureInheritanceTests",
        "test_futures.PyFutureTests",
        "test_pep492.CoroutineTests",
        "test_pep492.LockTests",
        "test_pep492.StreamReaderTests",
        "test_protocols.ProtocolsAbsTests",
        "test_runners.RunnerTests",
        "test_subprocess.MultiLoopChildWatcherTests",
        "test_subprocess.SubprocessTransportTests",
        "test_tasks.CIntrospectionTests",
        "test_tasks.CoroutineGatherTests",
        "test_tasks.FutureGatherTests",
        "test_tasks.GenericTaskTests",
        "test_tasks.PyIntrospectionTests",
        "test_transports.TransportTests",
        "test_unix_events.AbstractChildWatcherTests",
        "test_unix_events.BaseChildWatcherTests",
        "test_unix_events.FastChildWatcherTests",
        "test_unix_events.SafeChildWatcherTests",
    )
)
