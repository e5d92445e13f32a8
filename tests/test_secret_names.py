"""Names of secrets."""

import pytest

from psengine_host.secret_names import looks_secret, surely_secret

SURE = [
    "secret", "client_secret", "clientSecret", "PASSWORD", "db-passwd", "token", "tokens", "api_key", "apikey",
    "apiKey", "X-Api-Key", "APIKEY", "license_key", "licensekey", "licence-key", "passphrase", "credentials",
    "access_key_id", "private_key", "NANO_AV_API_KEY", "appToken",
]  # fmt: skip
LIKELY = ["licence", "license", "pwd", "pass", "pw", "pin", "serial", "Authorization", "key", "jwt", "otp", "hmac"]
NONE = [
    "keyword", "monkey", "author", "spinner", "rules", "hockey", "turnkey", "pinned", "compass", "bypass", "tokenizer",
    "secretary", "sha256", "license_file", "licenseFile", "token_path", "key_length", "secrets_dir", "token_ttl", "42",
    "",
]  # fmt: skip


@pytest.mark.parametrize("name", SURE)
def test_what_is_surely_a_secret(name):
    assert surely_secret(name)
    assert looks_secret(name)


@pytest.mark.parametrize("name", LIKELY)
def test_what_is_likely_one(name):
    assert looks_secret(name)
    assert not surely_secret(name)


@pytest.mark.parametrize("name", NONE)
def test_what_is_none(name):
    assert not looks_secret(name)
    assert not surely_secret(name)
