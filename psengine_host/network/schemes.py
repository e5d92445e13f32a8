"""Which schemes lead to a connection; apart from ``urls``, so that a refusal costs no import of yarl."""

from __future__ import annotations

from psengine_host.network.errors import BadAnswer, clean

__all__ = ["require_http"]


def require_http(uri: str, taken: str = "http and https") -> None:
    """Pass a URI that is asked over a connection, or raise.

    Nothing is stripped or unescaped: a scheme in an odd spelling is another scheme, and is refused.

    Args:
        uri: The URI's text.
        taken: All schemes that the caller takes, for the message.

    Raises:
        BadAnswer: The text before the first colon is neither ``http`` nor ``https``, in any case.
    """
    scheme, colon, _ = uri[:64].partition(":")
    if not colon or scheme.lower() not in ("http", "https"):
        raise BadAnswer(f"the scheme '{clean(scheme)}' is not taken; only {taken} are")
