"""The tutorial, followed: its files written, its commands run, its output compared."""

import importlib.util
import json
import subprocess
import sys
import zipfile


def test_the_tutorial_works_as_it_is_written(tutorial, run_page):
    assert run_page(tutorial) > 20


def test_its_engine_is_the_reference_engine(tutorial, root):
    plugin = root / "plugins/psengine-eicar"
    files = {block.file: block.text for block in reversed(tutorial.blocks) if block.file and not block.changes}
    assert files["pyproject.toml"] == (plugin / "pyproject.toml").read_text().replace('readme = "README.md"\n', "")
    module = "psengine_eicar/__init__.py"
    assert [block.text for block in tutorial.blocks if block.file == module and not block.changes][-1] == (
        plugin / module
    ).read_text()


def test_the_reference_engine_is_under_30_lines(root):
    assert len((root / "plugins/psengine-eicar/psengine_eicar/__init__.py").read_text().splitlines()) < 30


def test_its_package_builds(tutorial, tmp_path):
    """With the build backend that the page names, where that is installed; else the metadata is read as it stands."""
    for block in tutorial.blocks:
        if block.file and not block.changes:
            path = tmp_path / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
    if importlib.util.find_spec("hatchling") is None:
        assert 'eicar = "psengine_eicar"' in (tmp_path / "pyproject.toml").read_text()
        return
    build = "import hatchling.build, json; print(json.dumps(hatchling.build.build_wheel('.')))"
    built = subprocess.run([sys.executable, "-c", build], cwd=tmp_path, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / json.loads(built.stdout.splitlines()[-1])) as wheel:
        names = wheel.namelist()
        assert "psengine_eicar/__init__.py" in names
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert wheel.read(entry_points).decode().split() == ["[psengine.engines]", "eicar", "=", "psengine_eicar"]
