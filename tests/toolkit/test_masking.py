import pytest

from psengine_host.toolkit.masking import Masking, looks_secret


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        (["scan", "--fast", "/tmp/a b"], "scan --fast '/tmp/a b'"),
        (["scan", "--password=hunter2", "x"], "scan --password=*** x"),
        (["scan", "--password", "hunter2", "x"], "scan --password *** x"),
        (["scan", "-pwd:hunter2"], "scan -pwd:***"),
        (["scan", "/LicenseKey:AAAA-BBBB"], "scan /LicenseKey:***"),
        (["scan", "--api-key=abc=def"], "scan --api-key=***"),
        (["scan", "--db-password-file", "name"], "scan --db-password-file ***"),
        (["env", "NANO_TOKEN=abcdef", "scan"], "env NANO_TOKEN=*** scan"),
        (["curl", "https://user:hunter2@host/path"], "curl https://***@host/path"),
        (["curl", "ftp://user:p@ss@host/path"], "curl ftp://***@host/path"),
        (["curl", "-H", "Authorization: Bearer abc"], "curl -H Authorization:***"),
        (["scan", "--authtoken", "abc", "--clientSecret=abc"], "scan --authtoken *** --clientSecret=***"),
        (["scan", "--compass=north", "monkey=x"], "scan --compass=north monkey=x"),
        (["scan", "--password="], "scan --password="),
        (["scan", "two\nlines"], "scan 'two\\nlines'"),
        (["scan", "\udcff"], "scan '\\udcff'"),
        (["scan", "a" * 500], f"scan '{'a' * 80}…{'a' * 80}'"),
    ],
)
def test_a_command_is_shown_on_one_line_without_what_looks_secret(args, shown):
    assert Masking(args).command() == shown


def test_named_secrets_are_hidden_wherever_they_stand():
    masking = Masking(["scan", "--user=joe", "x"], secrets=["joe", "joey", ""])
    assert masking.command() == "scan --user=*** x"
    assert masking.masked("joey and joe") == "*** and ***"


def test_what_follows_an_option_is_hidden_in_the_output_too():
    masking = Masking(["scan", "--licence-key", "K-123-456", "https://me:s3cr3ts@host/"])
    assert masking.masked("key K-123-456 is void, s3cr3ts too") == "key *** is void, *** too"


def test_what_a_header_says_is_hidden_in_the_output_too():
    assert Masking(["curl", "-H", "X-Api-Key: K-123-456"]).masked("K-123-456 is void") == "*** is void"


def test_user_and_password_of_any_url_are_hidden():
    """A scanner's own complaint about the proxy that a variable names, say."""
    assert Masking(["scan"]).masked("no http://me:s3cr3t@proxy:3128/") == "no http://***@proxy:3128/"


def test_values_of_variables_that_look_secret_are_hidden():
    masking = Masking(["scan"], environ={"NANOAV_LICENSE_KEY": "K-123-456", "HOME": "/home/joe", "USE_KEY": "true"})
    assert masking.masked("K-123-456 of /home/joe: true") == "*** of /home/joe: true"


def test_places_are_no_secrets(tmp_path):
    places = {"PWD": "/gone/away", "NANOAV_SECRETS_HOME": str(tmp_path), "SSH_AUTH_SOCK": "/no/such/socket"}
    masking = Masking(["scan", f"{tmp_path}/x"], environ=places)
    assert masking.command() == f"scan {tmp_path}/x"
    assert masking.masked("/gone/away /no/such/socket") == "/gone/away ***"


def test_half_a_secret_at_a_cut_is_hidden():
    masking = Masking(["scan"], secrets=["hunter2-and-more"])
    assert masking.masked("it is hunter2-an", cut=True) == "it is ***"
    assert masking.masked("it is hunter2-an") == "it is hunter2-an"


def test_a_long_command_is_shortened():
    shown = Masking(["scan", *("word" for _ in range(1000))]).command()
    assert len(shown) < 450
    assert shown.endswith("… (1001 words)")


@pytest.mark.parametrize(
    "name", ["PASSWORD", "DB_PASSWORD", "API_KEY", "licenseKey", "appToken", "APPTOKEN", "GITHUB_TOKEN", "MY_SECRETS"]
)
def test_names_that_look_secret(name):
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name", ["HOME", "PATH", "KEYBOARD", "MONKEY", "COMPASS", "AUTHOR", "TOKENIZER", "BYPASS", "LC_ALL", "TZ"]
)
def test_names_that_do_not(name):
    assert not looks_secret(name)


def test_an_argument_of_any_length_is_looked_at_quickly():
    masking = Masking(["scan", "--" + "a-" * 100_000, "key" * 100_000, "://" * 50_000])
    assert len(masking.command()) < 1_000
