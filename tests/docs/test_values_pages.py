"""The pages about bids, settings, variables and errors say what the code does."""

import re
import tomllib
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from psengine_host import bids, errors
from psengine_host.bids import DNI_SCALE, BidPolicy, dni_to_bid, rescale_to_bid, wei_to_nct
from psengine_host.bounty import BountyRules
from psengine_host.environment import VARIABLES, EngineEnvironment
from psengine_host.errors import SettingsError
from psengine_host.settings import Settings
from psengine_host.settings.doubts import UNUSED
from psengine_host.settings.sections import KINDS
from psengine_host.settings.variables import VARIABLES as SETTING_VARIABLES
from psengine_host.spool import MAX_STREAM

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PACKAGE = Path(bids.__file__).parent
PERCENT = BountyRules(min_allowed_bid=0, max_allowed_bid=100)


def text(page: str) -> str:
    return (REFERENCE / page).read_text(encoding="utf-8")


def table(page: str, title: str | None = None) -> list[list[str]]:
    """The cells of the first table under a heading, or of the page, without its head."""
    whole = text(page)
    if title is not None:
        whole = whole[re.search(rf"^#+ {re.escape(title)}$", whole, re.MULTILINE).end() :]
    lines = re.search(r"(?:^\|.*\n)+", whole, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def code(cell: str) -> str:
    """What stands between backticks, single or double."""
    return re.fullmatch(r"(`+) ?(.*?) ?\1.*", cell)[2]


class TestBids:
    def test_the_dni_table_is_the_scale(self):
        listed = {}
        for term, same, value, _ in table("bids.md", "The DNI scale")[:-1]:
            listed |= {term.lower(): int(value), same.lower(): int(value)}
        assert listed == dict(DNI_SCALE)

    def test_every_spelling_in_the_dni_table_is_taken(self):
        for *terms, value, other in table("bids.md", "The DNI scale"):
            for term in filter(None, [*terms, other, " / ".join(filter(None, terms))]):
                assert dni_to_bid(term, PERCENT) == (None if value == "none" else int(value)), term

    def test_the_table_of_0_to_100(self):
        rows = table("bids.md", "The 0-100 scale")
        assert [int(value) for value, *_ in rows] == list(range(0, 101, 10))
        for value, bid, nct in rows:
            assert rescale_to_bid(int(value), PERCENT) == int(bid)
            assert wei_to_nct(rescale_to_bid(int(value), BountyRules())) == Decimal(nct)

    def test_every_policy_is_listed(self):
        assert [code(name) for name, _ in table("bids.md", "Policies")] == list(BidPolicy)

    def test_every_function_is_named(self):
        for name in bids.__all__:
            if callable(getattr(bids, name)) and name not in ("BidPolicy", "bid_by_policy"):
                assert f"`{name}(" in text("bids.md"), name


def leaves(struct: type[msgspec.Struct], prefix: str = "") -> dict[str, object]:
    """The dotted name of each setting, and its default."""
    found = {}
    for field in msgspec.structs.fields(struct):
        default = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
        if isinstance(default, msgspec.Struct):
            found |= leaves(type(default), f"{field.name}.")
        else:
            found[prefix + field.name] = default
    # What tables of single engines hold has a heading of its own.
    return {name: default for name, default in found.items() if name not in ("workers.timeout", "workers.engines")}


class TestSettings:
    def test_each_has_its_line_with_its_default(self):
        documented = {}
        for name, _, default, *_ in table("settings.md", "All settings"):
            unset = default in ("all", "not set")
            value = None if unset else tomllib.loads(f"x = {default.strip('`')}")["x"]
            kind = KINDS.get(code(name))
            documented[code(name)] = value if unset or kind is None else kind.parse(value, "")
        assert documented == leaves(Settings)

    def test_each_has_its_kind_its_range_and_its_variable(self):
        rows = {code(name): rest for name, *rest in table("settings.md", "All settings")}
        del rows["engines"]
        assert {name: (kind, span, code(variable)) for name, (kind, _, span, _, variable) in rows.items()} == {
            name: (kind.type, kind.range, SETTING_VARIABLES[name]) for name, kind in KINDS.items()
        }

    def test_the_example_names_every_setting_and_is_taken(self, tmp_path):
        example = re.search(r"```toml\n(.*?)```", text("settings.md"), re.DOTALL)[1]
        (tmp_path / "psengine.toml").write_text(example)
        assert Settings.read(tmp_path / "psengine.toml", environ={}).engines["yara"]["rules"]
        shown = tomllib.loads(example)
        left_out = {
            f"{table}.{name}" if table else name
            for table, _, name in (setting.rpartition(".") for setting in leaves(Settings))
            if name not in (shown.get(table, {}) if table else shown)
        }
        assert left_out == {"webhook.secret"}  # webhook.secret_file takes its place

    def test_the_example_of_engines_with_workers_of_their_own(self, tmp_path):
        section = text("settings.md").partition("## Workers of one engine\n")[2].partition("\n## ")[0]
        (tmp_path / "psengine.toml").write_text(re.search(r"```toml\n(.*?)```", section, re.DOTALL)[1])
        workers = Settings.read(tmp_path / "psengine.toml", environ={}).workers
        general, yara, nano, sandbox = map(workers.of, ("eicar", "yara", "nano-av", "sandbox"))
        assert (general.count, general.max_memory, general.timeout) == (4, 1_000_000_000, None)
        assert (yara.count, yara.max_memory, yara.timeout) == (4, 4_000_000_000, None)
        assert (nano.count, nano.timeout, nano.python) == (1, 300.0, "/opt/nano-av/bin/python")
        assert (sandbox.sandbox, general.sandbox) == ("bwrap", "none")

    def test_every_spelling_of_a_value_is_taken(self, tmp_path):
        settings = {
            "duration": "host.timeout", "size": "spool.max_size", "number": "network.tries",
            "true or false": "network.proxy_from_environment", "text, URL": "bids.policy",
            "list of texts": "enabled_engines", "path": "network.ca_file",
        }  # fmt: skip
        rows = table("settings.md", "How values are written")
        assert [row[0] for row in rows] == list(settings)
        for kind, in_file, in_variable in rows:
            setting = settings[kind]
            for value in re.findall(r"`([^`]+)`", in_file):
                (tmp_path / "psengine.toml").write_text(f"{setting} = {value}")
                Settings.read(tmp_path / "psengine.toml", environ={})
            for value in re.findall(r"`([^`]+)`", in_variable):
                Settings.read(environ={SETTING_VARIABLES[setting]: value})

    @pytest.mark.parametrize(("wrong", "message"), table("settings.md", "Mistakes"))
    def test_the_mistakes_are_told_as_shown(self, tmp_path, wrong, message):
        path = tmp_path / "psengine.toml"
        path.write_text(code(wrong))
        with pytest.raises(SettingsError) as caught:
            Settings.read(path, environ={})
        assert str(caught.value) == f"{path}: {code(message)}"

    def test_variables_with_a_name_of_their_own_are_described_on_their_page(self):
        own = {
            variable
            for setting, variable in SETTING_VARIABLES.items()
            if variable.lower() != f"psengine_{setting}".replace(".", "_")
        }
        assert own | {"PSENGINE_WEBHOOK_SECRET"} <= {code(row[0]) for row in table("environment.md", "The host")}

    def test_what_nothing_uses_is_marked(self):
        for page, title, number in (("settings.md", "All settings", 4), ("environment.md", "The host", 1)):
            marked = {code(row[0]) for row in table(page, title) if r"(\*)" in row[number]}
            unused = {name for name in KINDS if name in UNUSED or name.partition(".")[0] in UNUSED}
            expected = unused if page == "settings.md" else {SETTING_VARIABLES[name] for name in unused}
            assert marked == expected & {code(row[0]) for row in table(page, title)}
            assert "(\\*) Read and checked; nothing in this version uses it." in text(page)


class TestVariables:
    def test_every_variable_that_the_package_reads_is_listed(self):
        read = set()
        for path in PACKAGE.rglob("*.py"):
            read |= set(re.findall(r'"(PSENGINE_[A-Z_]+|LOG_[A-Z]+|TMPPREFIX)"', path.read_text(encoding="utf-8")))
        complete = {name for name in read if name.endswith("_COMPLETE")}
        listed = {code(row[0]) for row in table("environment.md", "The host")} - {"TMPDIR"}
        assert read - complete <= listed <= read | set(SETTING_VARIABLES.values())

    def test_the_engine_s_variables_attributes_and_defaults(self, monkeypatch):
        for kind in ("CONFIG", "DATA", "CACHE", "STATE"):
            monkeypatch.delenv(f"XDG_{kind}_HOME", raising=False)
        environment = EngineEnvironment("name", {})
        rows = table("environment.md", "An engine")
        assert [code(variable) for variable, *_ in rows] == [f"${{ENGINE}}_{name}" for name in VARIABLES]
        for name, (_, attribute, _, default) in zip(VARIABLES, rows, strict=True):
            assert isinstance(getattr(EngineEnvironment, code(attribute)), property)
            if default == "none":
                assert getattr(environment, code(attribute)) is None
            elif name != "RUNTIME_DIR":
                expected = Path(code(default).replace("NAME", "name")).expanduser()
                assert environment.locate(name) == expected


class TestErrors:
    def test_the_table_is_the_tree(self):
        listed = {code(name): code(parent) for name, parent, *_ in table("errors.md")}
        assert listed == {
            name: value.__bases__[0].__name__
            for name, value in vars(errors).items()
            if isinstance(value, type) and issubclass(value, errors.PsengineError)
        }

    def test_what_an_error_knows(self):
        arguments = {
            "UnknownEngine": ("x", ["y"]),
            "EngineFault": ("x", "analyze", "z"),
            "EngineBroken": ("x", "y 1.0", "z"),
        }
        for name, _, _, knows in table("errors.md"):
            made = getattr(errors, code(name))
            three = ("id", 1, "z") if issubclass(made, errors.InvalidValue) else ("message",)
            assert sorted(vars(made(*arguments.get(code(name), three)))) == sorted(re.findall(r"`(\w+)`", knows))

    def test_the_limit_of_streams(self):
        assert f"longer than {MAX_STREAM} bytes, the most that is taken from a stream" in text("errors.md")

    def test_the_messages_are_in_the_code(self):
        source = "".join((PACKAGE / f"{name}.py").read_text() for name in ("artifacts", "spool", "obtaining"))
        for fragment in (
            "changed while it was read; scan it again",
            "grows, or does not say its size (as in /proc), and is larger than 1 MiB; scan a copy of it",
            "has nothing to read at the moment; open it in blocking mode",
            "the artifact's SHA-256 is",
            "; set TMPPREFIX or TMPDIR",
        ):
            assert fragment in source
            assert fragment in text("errors.md")
