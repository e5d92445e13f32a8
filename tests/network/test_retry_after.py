"""The two forms of ``Retry-After``."""

import pytest

from psengine_host.network.retry_after import MAX_RETRY_AFTER, retry_after_seconds

NOW = 784_111_777.0  # Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("999999999", MAX_RETRY_AFTER),
        ("9" * 5000, None),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sun, 06 Nov 1994 08:49:47 -0000", 10.0),
        ("Sun, 06 Nov 1994 09:49:47 +0100", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Sun, 06 Nov 2094 08:49:37 GMT", MAX_RETRY_AFTER),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("soon", None),
    ],
)
def test_seconds_and_dates(value, seconds):
    assert retry_after_seconds(value, now=NOW) == seconds
