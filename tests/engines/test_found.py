import logging
import subprocess
import sys

import pytest

from psengine_host.engines.found import (
    OBSERVERS_GROUP,
    BrokenEngine,
    Catalog,
    FoundEngine,
    Registration,
    find_engines,
    find_registrations,
)
from psengine_host.errors import AmbiguousEngine, UnknownEngine, UsageError
from psengine_host.host import usable_engines
from psengine_host.settings import Settings


def broken(catalog, name):
    engine = catalog[name]
    assert type(engine) is BrokenEngine
    return engine.reason


def test_an_engine_is_found_with_its_distribution_and_version(engine_site):
    module = engine_site.add("nano-av", distribution="Vendor.Nano_AV", version="3.1.4")
    engine = engine_site.catalog()["nano-av"]
    assert type(engine) is FoundEngine
    assert (engine.distribution, engine.version, engine.value) == ("Vendor.Nano_AV", "3.1.4", module)
    assert engine.origin == "Vendor.Nano_AV 3.1.4"


def test_engines_come_in_order_of_name(engine_site):
    for name in ("zeta", "alpha", "mid"):
        engine_site.add(name)
    assert list(engine_site.catalog()) == ["alpha", "mid", "zeta"]
    assert len(engine_site.catalog()) == 3


def test_other_groups_hold_no_engines(engine_site):
    engine_site.add("listener", group=OBSERVERS_GROUP)
    assert not engine_site.catalog()
    assert [entry.name for entry in find_registrations(OBSERVERS_GROUP, [str(engine_site.path)])] == ["listener"]


def test_nothing_of_an_engine_is_imported_to_list_it(engine_site):
    modules = [
        engine_site.add("first", "raise RuntimeError('imported')"),
        engine_site.add("second", "import sys; sys.exit(9)"),
    ]
    program = (
        "import sys\n"
        "from psengine_host.engines.found import find_engines\n"
        "engines = find_engines()\n"
        "print(*[f'{engines[name].name}={engines[name].version}' for name in ('first', 'second')])\n"
        f"print([name for name in {modules!r} if name in sys.modules])\n"
        "print([name for name in ('psengine_eicar', 'psengine_yara', 'pluggy', 'click') if name in sys.modules])\n"
    )
    child = subprocess.run(
        [sys.executable, "-c", program], env=engine_site.env(), capture_output=True, text=True, check=True
    )
    assert child.stdout.splitlines() == ["first=1.0 second=1.0", "[]", "[]"]


def test_a_name_that_two_distributions_register_is_refused_naming_both(engine_site):
    engine_site.add("scan", distribution="vendor-b", version="2.0")
    engine_site.add("scan", distribution="vendor-a", version="1.0")
    engine_site.add("other")
    catalog = engine_site.catalog()
    assert broken(catalog, "scan") == (
        "two distributions register the name 'scan': vendor-a 1.0 and vendor-b 2.0; uninstall one"
    )
    assert catalog["scan"].origin == "vendor-a 1.0 and vendor-b 2.0"
    assert type(catalog["other"]) is FoundEngine


def test_a_distribution_that_is_on_the_path_twice_counts_once(engine_site, tmp_path):
    engine_site.add("scan", distribution="Vendor_Scan", version="2.0")
    second = tmp_path / "second"
    (second / "vendor.scan-1.0.dist-info").mkdir(parents=True)
    (second / "vendor.scan-1.0.dist-info" / "METADATA").write_text("Name: vendor.scan\nVersion: 1.0\n")
    (second / "vendor.scan-1.0.dist-info" / "entry_points.txt").write_text("[psengine.engines]\nscan = old\n")
    catalog = find_engines([str(engine_site.path), str(second)])
    assert type(catalog["scan"]) is FoundEngine
    assert catalog["scan"].version == "2.0"


@pytest.mark.parametrize("folder", ["vendor_scan.egg-info", "vendor_scan-2.0-py3.11.egg-info"])
def test_a_distribution_that_is_installed_from_its_own_folder_counts_once_there(engine_site, tmp_path, folder):
    engine_site.add("scan", distribution="vendor-scan", version="2.0")
    project = tmp_path / "project"
    (project / folder).mkdir(parents=True)
    (project / folder / "PKG-INFO").write_text("Name: vendor-scan\nVersion: 2.0\n")
    (project / folder / "entry_points.txt").write_text("[psengine.engines]\nscan = vendor_scan\n")
    for path in ([project, engine_site.path], [engine_site.path, project]):
        assert type(find_engines([str(each) for each in path])["scan"]) is FoundEngine


@pytest.mark.parametrize("name", ["Scan", "1scan", "scan_av", "-scan", "scan.av", "a" * 33, "scän"])
def test_a_name_that_is_not_allowed_is_refused_with_the_rule(engine_site, name):
    engine_site.add(name, distribution="vendor-scan")
    engine_site.add("other")
    catalog = engine_site.catalog()
    assert broken(catalog, name) == (
        f"the name {name!r} is not allowed: lower-case letters, digits and hyphens, a letter first, 32 at most"
    )
    assert type(catalog["other"]) is FoundEngine


def test_the_longest_name_is_allowed(engine_site):
    engine_site.add("a" * 32)
    assert type(engine_site.catalog()["a" * 32]) is FoundEngine


@pytest.mark.parametrize("name", ["metrics", "status", "healthz", "readyz", "all"])
def test_the_names_of_routes_are_reserved(engine_site, name):
    engine_site.add(name)
    assert broken(engine_site.catalog(), name) == f"the name {name!r} is reserved"


def test_of_two_names_that_would_share_their_variables_only_the_allowed_one_can_run(engine_site):
    # Hyphens and underscores are one in a variable's name; an underscore is not allowed in an engine's.
    engine_site.add("nano-av")
    engine_site.add("nano_av", distribution="vendor-nano")
    catalog = engine_site.catalog()
    assert isinstance(catalog["nano-av"], FoundEngine)
    assert "not allowed" in broken(catalog, "nano_av")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(b"[psengine.engines]\nno equals sign here\n", id="no equals sign"),
        pytest.param(b"[psengine.engines]\nscan = \xff\xfe\n", id="no UTF-8"),
    ],
)
def test_a_distribution_with_damaged_metadata_is_logged_and_takes_no_other_with_it(engine_site, damage, caplog):
    engine_site.add("scan")
    engine_site.add("other")
    (engine_site.path / "psengine_test_scan-1.0.dist-info" / "entry_points.txt").write_bytes(damage)
    with caplog.at_level(logging.ERROR):
        catalog = engine_site.catalog()
    assert list(catalog) == ["other"]
    assert "psengine_test_scan-1.0.dist-info: its metadata cannot be read (" in caplog.text
    assert "; reinstall it" in caplog.text


def test_a_distribution_without_metadata_is_unnamed(engine_site):
    engine_site.add("scan")
    (engine_site.path / "psengine_test_scan-1.0.dist-info" / "METADATA").unlink()
    assert engine_site.catalog()["scan"].origin == "unnamed"


def test_an_unknown_engine_suggests_the_nearest(engine_site):
    engine_site.add("eicar")
    with pytest.raises(UnknownEngine) as caught:
        engine_site.catalog()["eicra"]
    assert str(caught.value) == "no engine is called 'eicra'; did you mean 'eicar'?; 'psengine list-engines' shows all"


def test_a_catalog_is_a_mapping_whose_get_raises_nothing(engine_site):
    engine_site.add("scan")
    catalog = engine_site.catalog()
    assert "scan" in catalog
    assert "none" not in catalog
    assert catalog.get("scan") is catalog["scan"]
    assert catalog.get("none") is None
    assert catalog.get("none", "default") == "default"


def test_selection_keeps_the_order_asked_for_and_takes_each_once(engine_site):
    for name in ("a", "b", "c"):
        engine_site.add(name)
    catalog = engine_site.catalog()
    assert [engine.name for engine in catalog.select(["c", "a", "c"])] == ["c", "a"]
    assert [engine.name for engine in catalog.select(["b", "ALL"])] == ["b", "a", "c"]


def test_without_a_name_the_only_engine_is_selected(engine_site):
    engine_site.add("only")
    assert [engine.name for engine in engine_site.catalog().select()] == ["only"]


def test_without_a_name_several_engines_are_a_usage_error_that_names_them(engine_site):
    engine_site.add("b")
    engine_site.add("a")
    with pytest.raises(AmbiguousEngine) as caught:
        engine_site.catalog().select()
    assert str(caught.value) == "several engines are installed: choose with --engine a or b, or --engine all"


@pytest.mark.parametrize("names", [[], ["all"]])
def test_without_any_engine_the_error_says_how_to_install_one(names):
    with pytest.raises(AmbiguousEngine) as caught:
        Catalog([]).select(names)
    assert str(caught.value) == "no engine is installed; install one, for example: pip install psengine-eicar"


def test_the_settings_allow_and_block(engine_site):
    for name in ("site-a", "site-b", "site-c"):
        engine_site.add(name)

    def usable(**variables):
        settings = Settings.read(environ=variables)
        return [name for name in usable_engines(settings) if name.startswith("site-")]

    assert usable() == ["site-a", "site-b", "site-c"]
    assert usable(PSENGINE_ENGINES="site-a, site-c") == ["site-a", "site-c"]
    assert usable(PSENGINE_DISABLED_ENGINES="site-a") == ["site-b", "site-c"]
    assert usable(PSENGINE_ENGINES="site-a,site-b", PSENGINE_DISABLED_ENGINES="site-b") == ["site-a"]


def test_an_excluded_engine_is_said_to_be_excluded_not_unknown(engine_site):
    engine_site.add("site-a")
    engine_site.add("site-b")
    catalog = usable_engines(Settings(enabled_engines=frozenset({"site-b"})))
    with pytest.raises(UsageError, match=r"engine site-a is excluded by PSENGINE_ENGINES or PSENGINE_DISABLED_ENGINES"):
        catalog["site-a"]


def test_when_every_engine_is_excluded_the_error_does_not_say_that_none_is_installed(engine_site):
    engine_site.add("site-a")
    catalog = usable_engines(Settings(enabled_engines=frozenset({"site-x"})))
    with pytest.raises(AmbiguousEngine, match=r"every installed engine \(.*site-a.*\) is excluded by PSENGINE_ENGINES"):
        catalog.select()


def test_registrations_are_values():
    one, same, other = (Registration("a", "m", "g", "d", version) for version in ("1", "1", "2"))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert repr(one) == "Registration('a', 'm', 'd 1')"


def test_an_entry_point_that_names_nothing_says_so(engine_site):
    engine_site.add("scan", value="not a module!")
    with pytest.raises(ImportError, match=r"the entry point says 'not a module!', which is neither module nor"):
        engine_site.catalog()["scan"].load()


def test_a_name_that_can_never_run_takes_nothing_from_one_that_can(engine_site):
    engine_site.add("yara")
    engine_site.add("Yara", distribution="shouting")
    catalog = engine_site.catalog()
    assert isinstance(catalog["yara"], FoundEngine)
    assert isinstance(catalog["Yara"], BrokenEngine)
    assert catalog["Yara"].reason.startswith("the name 'Yara' is not allowed")


def test_a_distribution_that_no_longer_has_an_engine_hides_its_older_version(engine_site, tmp_path):
    engine_site.add("once", distribution="psengine-once", version="1.0")
    newer = tmp_path / "newer"
    (newer / "psengine_once-2.0.dist-info").mkdir(parents=True)
    (newer / "psengine_once-2.0.dist-info" / "METADATA").write_text("Name: psengine-once\nVersion: 2.0\n")
    assert "once" in find_engines([str(engine_site.path)])
    assert "once" not in find_engines([str(newer), str(engine_site.path)])
