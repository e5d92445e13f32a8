import importlib
import os
import stat
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from psengine_host.errors import EngineError
from psengine_host.toolkit.resources import ResourceError, read_resource, resource_path

FILES = {
    "__init__.py": b"",
    "licence.txt": b"all rights\r\n",
    "rules/__init__.py": b"",
    "rules/a.yar": b"rule a",
    "rules/deep/b.bin": b"\0\xff",
}


@pytest.fixture(params=["files", "zip"])
def package(request, tmp_path, monkeypatch):
    """The name of a package with files, installed as files or in a zip."""
    name = f"packaged_{request.param}"
    if request.param == "files":
        place = tmp_path / "site"
        for path, content in FILES.items():
            file = place / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    else:
        place = tmp_path / "site.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for path, content in FILES.items():
                archive.writestr(f"{name}/{path}", content)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield name
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]
    importlib.invalidate_caches()


class TestRead:
    @pytest.mark.parametrize("names", [("rules/deep/b.bin",), ("rules", "deep", "b.bin"), ("rules/deep", "b.bin")])
    def test_the_bytes_as_they_are(self, package, names):
        assert read_resource(package, *names) == b"\0\xff"

    def test_of_a_package_in_hand_and_of_one_inside(self, package):
        assert read_resource(importlib.import_module(package), "licence.txt") == b"all rights\r\n"
        assert read_resource(f"{package}.rules", "a.yar") == b"rule a"

    def test_a_folder_cannot_be_read(self, package):
        with pytest.raises(ResourceError, match=f"cannot read 'rules' of package {package}: "):
            read_resource(package, "rules")


class TestPath:
    def test_a_file(self, package):
        with resource_path(package, "rules", "a.yar") as path:
            assert path.name == "a.yar"
            assert path.read_bytes() == b"rule a"

    def test_a_folder_with_all_that_is_in_it(self, package):
        with resource_path(package, "rules") as path:
            assert path.name == "rules"
            found = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        assert {name: found.get(name) for name in ("a.yar", "deep/b.bin")} == {
            "a.yar": b"rule a",
            "deep/b.bin": b"\0\xff",
        }

    def test_what_is_installed_as_files_is_not_copied_and_a_copy_is_removed(self, package, tmp_path):
        before = set(tmp_path.iterdir())
        with resource_path(package, "licence.txt") as path:
            if package == "packaged_files":
                assert path == tmp_path / "site" / package / "licence.txt"
                assert set(tmp_path.iterdir()) == before
            else:
                assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
                assert not path.is_relative_to(tmp_path / "site.zip")
        assert set(tmp_path.iterdir()) == before
        assert path.exists() is (package == "packaged_files")

    def test_a_copy_is_removed_after_an_error_too_and_the_error_passes(self, package, tmp_path):
        before = set(tmp_path.iterdir())
        with pytest.raises(FileExistsError), resource_path(package, "licence.txt"):
            raise FileExistsError("of the block")
        assert set(tmp_path.iterdir()) == before

    def test_without_room_for_a_copy(self, package, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
        if package == "packaged_files":
            with resource_path(package, "licence.txt") as path:
                assert path.exists()
        else:
            message = f"cannot copy 'licence.txt' of package {package}: No such file or directory"
            with pytest.raises(ResourceError, match=f"^{message}$"), resource_path(package, "licence.txt"):
                pass


class TestErrors:
    @pytest.mark.parametrize("name", ["missing.yar", "rules/missing", "licence.txt/x", "x" * 5000])
    def test_no_such_file(self, package, name):
        with pytest.raises(ResourceError) as caught:
            read_resource(package, name)
        message = str(caught.value)
        assert message.startswith(f"package {package} has no file '{name[:100]}")
        assert message.endswith("; see that it is among the package's data when it is built")
        assert len(message) < 400
        assert isinstance(caught.value, EngineError)

    @pytest.mark.parametrize(
        "names",
        [
            (),
            ("",),
            ("..",),
            ("../x",),
            ("rules", "..", "licence.txt"),
            ("rules/../../x",),
            ("/etc/passwd",),
            ("rules", "/etc/passwd"),
            ("rules//a.yar",),
            (".",),
            ("rules\\a.yar",),
            ("licence.txt\0",),
        ],
    )
    def test_no_name_leads_out_of_the_package(self, package, names):
        with pytest.raises(ResourceError) as caught:
            read_resource(package, *names)
        assert str(caught.value) == f"{'/'.join(names)!r} names no file in package {package}: write a path from it"
        with pytest.raises(ResourceError, match="names no file"), resource_path(package, *names):
            pass

    @pytest.mark.parametrize("name", ["no_such_package_here", "", "os.nothing", "..", "a b"])
    def test_no_such_package(self, name):
        with pytest.raises(ResourceError, match=f"^package '{name}' cannot be imported: "):
            read_resource(name, "x")

    def test_a_single_module_has_no_files(self, tmp_path, monkeypatch):
        (tmp_path / "lone_module.py").touch()
        (tmp_path / "x").touch()
        monkeypatch.syspath_prepend(str(tmp_path))
        with pytest.raises(ResourceError) as caught:
            read_resource("lone_module", "x")
        assert str(caught.value) == (
            "lone_module is a single module, which has no files beside it; make it a package: a folder with __init__.py"
        )
        del sys.modules["lone_module"]


def test_what_is_in_the_package_of_the_host_itself_is_found():
    import psengine_host

    with resource_path(psengine_host, "py.typed") as path:
        assert path == Path(os.path.dirname(psengine_host.__file__), "py.typed")
