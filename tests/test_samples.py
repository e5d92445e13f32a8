import email
import gzip
import hashlib
import html.parser
import io
import json
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

import psengine_host
from psengine_host.samples import Sample, SampleError, eicar, write_samples

PACKAGE = Path(psengine_host.__file__).parent
REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def samples(tmp_path) -> dict[str, Sample]:
    return {sample.path.name: sample for sample in write_samples(tmp_path / "samples")}


def content(samples: dict[str, Sample], name: str) -> bytes:
    return samples[name].path.read_bytes()


def test_the_string_is_the_one_that_scanners_agreed_on():
    # The digest is the one that is published for eicar.com everywhere.
    assert len(eicar()) == 68
    assert hashlib.sha256(eicar()).hexdigest() == "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"


def test_the_string_stands_in_clear_in_no_file_of_the_package_or_the_repository():
    searched = [path for path in PACKAGE.rglob("*") if path.is_file()]  # byte code too
    if (REPOSITORY / "pyproject.toml").is_file():
        for folder in ("docs", "plugins", "tests"):
            searched += [path for path in (REPOSITORY / folder).rglob("*") if path.is_file()]
        searched += [path for path in REPOSITORY.iterdir() if path.is_file()]
    assert PACKAGE / "samples.py" in searched
    assert [str(path) for path in searched if eicar() in path.read_bytes()] == []


def test_importing_the_module_decodes_nothing_and_loads_no_archive_library():
    script = (
        "import sys; import psengine_host.samples as samples;"
        "print(samples.eicar.cache_info().currsize, [m for m in ('zipfile', 'tarfile', 'gzip') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    assert run.stdout == "0 []\n"


def test_what_is_expected_is_what_a_search_of_the_bytes_finds(samples):
    expected = {name: sample.expected for name, sample in samples.items()}
    found = {name: "malicious" if eicar() in content(samples, name) else "benign" for name in samples}
    assert found == expected
    assert list(expected.values()).count("malicious") == 10
    assert list(expected.values()).count("benign") == 18


def test_the_files_are_those_that_are_listed_and_each_is_described(samples, tmp_path):
    assert {path.name for path in (tmp_path / "samples").iterdir()} == set(samples)
    assert all(sample.path == tmp_path / "samples" / name for name, sample in samples.items())
    descriptions = [sample.description for sample in samples.values()]
    assert len(set(descriptions)) == len(descriptions)
    assert all(text and "\n" not in text for text in descriptions)


def test_samples_that_hide_the_string_say_so(samples):
    hidden = [sample for name, sample in samples.items() if name.startswith("hidden")]
    assert len(hidden) == 7
    assert all("does not see it" in sample.description for sample in hidden)


def test_the_plain_file_is_exactly_the_string_and_the_padded_one_fits_the_definition(samples):
    assert content(samples, "eicar.com") == eicar()
    padded = content(samples, "eicar-padded.com")
    assert len(padded) == 128
    assert padded.startswith(eicar())
    assert set(padded[68:]) == set(b" \t\r\n\x1a")


def test_archives_hold_the_string(samples):
    for name in ("eicar-stored.zip", "hidden-deflated.zip"):
        with zipfile.ZipFile(samples[name].path) as archive:
            assert archive.testzip() is None
            assert archive.read("eicar.com") == eicar()
    with zipfile.ZipFile(samples["eicar-stored-twice.zip"].path) as outer:
        assert zipfile.ZipFile(io.BytesIO(outer.read("eicar.zip"))).read("eicar.com") == eicar()
    with tarfile.open(samples["eicar.tar"].path) as archive:
        assert archive.extractfile("eicar.com").read() == eicar()
    assert gzip.decompress(content(samples, "hidden.com.gz")) == eicar()


def test_the_mail_carries_the_string_as_an_attachment(samples):
    message = email.message_from_bytes(content(samples, "hidden.eml"))
    (attachment,) = [part for part in message.walk() if part.get_filename() == "eicar.com"]
    assert attachment.get_payload(decode=True) == eicar()
    assert message.defects == []


def test_the_link_of_the_web_page_leads_to_the_string(samples):
    links = []

    class Links(html.parser.HTMLParser):
        def handle_starttag(self, tag, attrs):
            links.extend(value for name, value in attrs if name == "href")

    Links().feed(content(samples, "hidden-data-uri.html").decode("ascii"))
    (link,) = links
    with urllib.request.urlopen(link) as response:
        assert response.read() == eicar()


def test_texts_decode_to_the_string(samples):
    assert content(samples, "hidden-utf16.txt").decode("utf-16").encode("ascii") == eicar()
    assert bytes.fromhex(content(samples, "hidden-hex.txt").decode("ascii")) == eicar()
    assert json.loads(content(samples, "hidden.json"))["content"].encode("ascii") == eicar()


def test_the_script_prints_the_string(samples):
    run = subprocess.run(["sh", str(samples["eicar.sh"].path)], capture_output=True, check=True)
    assert run.stdout == eicar() + b"\n"


@pytest.mark.parametrize(("name", "attached"), [("eicar.pdf", True), ("page.pdf", False)])
def test_the_cross_references_of_the_pdf_lead_to_its_objects(samples, name, attached):
    document = content(samples, name)
    start = int(document.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    table = document[start:].split(b"\n")
    assert table[0] == b"xref"
    count = int(table[1].split()[1])
    assert count == (8 if attached else 6)
    for number in range(1, count):
        offset = int(table[2 + number].split()[0])
        assert document[offset:].startswith(b"%d 0 obj\n" % number)
    assert (b"/EmbeddedFile" in document) == attached
    assert b"/JavaScript" not in document
    assert b"/OpenAction" not in document


def test_look_alikes_differ_from_the_string_as_they_say(samples):
    broken = content(samples, "broken.com")
    assert [i for i, (a, b) in enumerate(zip(broken, eicar(), strict=True)) if a != b] == [eicar().index(b"-TEST-") + 2]
    assert content(samples, "lower-case.com").upper() == eicar()
    assert content(samples, "cut-short.com") == eicar()[:67]
    assert content(samples, "two-lines.txt").replace(b"\n", b"") == eicar()
    assert b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE" in content(samples, "about-eicar.txt")
    assert content(samples, "empty.bin") == b""
    assert json.loads(content(samples, "settings.json"))["window"] == {"width": 800, "height": 600}


def test_the_picture_is_a_valid_png(samples):
    import zlib

    data = content(samples, "pixel.png")
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position, kinds = 8, []
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        body = data[position + 4 : position + 8 + length]
        assert int.from_bytes(data[position + 8 + length : position + 12 + length], "big") == zlib.crc32(body)
        kinds.append(body[:4])
        if body[:4] == b"IDAT":
            assert zlib.decompress(body[4:]) == b"\x00\x80"
        position += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]


def test_the_samples_are_the_same_bytes_everywhere(samples):
    digest = hashlib.sha256()
    for name in sorted(samples):
        digest.update(name.encode() + b"\0" + content(samples, name) + b"\0")
    assert digest.hexdigest() == "c553f91bc77672dda9d8e78816f8b40059e6206d527db846ff7063c5fa57142d"


def test_a_second_run_leaves_the_files_alone(samples, tmp_path):
    before = {sample.path: sample.path.stat().st_mtime_ns for sample in samples.values()}
    assert write_samples(tmp_path / "samples") == tuple(samples.values())
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_run_after_an_interruption_completes_the_folder(samples, tmp_path):
    samples["eicar.tar"].path.unlink()
    write_samples(tmp_path / "samples")
    assert eicar() in content(samples, "eicar.tar")


def test_missing_parents_are_made_and_an_empty_folder_is_taken(tmp_path):
    assert write_samples(tmp_path / "a" / "b")[0].path == tmp_path / "a" / "b" / "eicar.com"
    (tmp_path / "empty").mkdir()
    assert write_samples(tmp_path / "empty")[0].path.is_file()


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("dear to me")
    with pytest.raises(SampleError) as caught:
        write_samples(tmp_path)
    assert str(caught.value) == f"{tmp_path}: holds 'thesis.doc', which is no sample: name an empty or a new folder"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize("kind", ["other bytes", "same size", "folder", "link"])
def test_a_sample_s_name_that_something_else_has_is_refused_and_left_alone(tmp_path, kind):
    taken = tmp_path / "eicar.html"
    if kind == "other bytes":
        taken.write_text("mine")
    elif kind == "same size":
        made = {sample.path.name: sample for sample in write_samples(tmp_path / "made")}
        taken.write_bytes(bytes(len(content(made, "eicar.html"))))
        for sample in made.values():
            sample.path.unlink()
        (tmp_path / "made").rmdir()
    elif kind == "folder":
        taken.mkdir()
    else:
        taken.symlink_to("/etc/hostname")
    with pytest.raises(SampleError) as caught:
        write_samples(tmp_path)
    assert str(caught.value) == (
        f"{taken}: is not the sample of that name: remove it, or name an empty or a new folder"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["eicar.html"]


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SampleError) as caught:
            write_samples(folder)
        assert str(caught.value) == f"{folder}: is a file, not a folder: name another folder"
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_refused():
    with pytest.raises(SampleError, match=r"^/proc/nowhere: cannot be used \(.+\): name another folder$"):
        write_samples(Path("/proc/nowhere"))
