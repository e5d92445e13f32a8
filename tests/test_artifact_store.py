import hashlib
import os
import stat
import threading

import pytest

from psengine_host.artifact_store import RETAINED, RETAINED_BYTES, ArtifactStore
from psengine_host.artifacts import KEPT_IN_MEMORY, Artifact
from psengine_host.errors import ArtifactError
from psengine_host.spool import Spool

SMALL = b"small"
LARGE = os.urandom(KEPT_IN_MEMORY + 1)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def spool(tmp_path):
    with Spool(tmp_path) as spool:
        yield spool


@pytest.fixture
def store(spool):
    return ArtifactStore(spool)


def add(store: ArtifactStore, spool: Spool, data: bytes, source: object = None) -> Artifact:
    with spool.deposit(KEPT_IN_MEMORY) as deposit:
        deposit.write(data)
        return store.artifact(store.add(deposit.keep(), sha256(data), len(data), source), "added")


def find(store: ArtifactStore, data: bytes) -> Artifact | None:
    holding = store.find(sha256(data))
    return None if holding is None else store.artifact(holding, "found")


def files(spool: Spool) -> list[os.PathLike[str]]:
    return list(spool.folder.iterdir())


class TestSharing:
    @pytest.mark.parametrize("data", [SMALL, LARGE, b""], ids=["small", "large", "empty"])
    def test_who_asks_by_hash_gets_the_same_bytes_in_the_same_file(self, store, spool, data):
        with add(store, spool, data) as one, find(store, data) as two:
            assert one.read_bytes() == two.read_bytes() == data
            assert (two.name, two.size, two.sha256) == ("found", len(data), sha256(data))
            assert one.path == two.path
            assert files(spool) == [one.path]
            assert stat.S_IMODE(one.path.stat().st_mode) == 0o400
            with two.open() as stream:
                assert stream.read() == data

    def test_small_ones_cost_no_file_until_one_is_asked_for(self, store, spool):
        with add(store, spool, SMALL) as artifact:
            assert (artifact.mimetype, artifact.read_bytes()) == ("text/plain", SMALL)
            assert files(spool) == []
            assert artifact.path.read_bytes() == SMALL
        assert files(spool) == []

    def test_the_file_goes_with_the_last_user(self, store, spool):
        one = add(store, spool, LARGE)
        two, three = find(store, LARGE), find(store, LARGE)
        for artifact in (one, three):
            artifact.close()
            artifact.close()
            assert two.path.read_bytes() == LARGE
        two.close()
        assert files(spool) == []
        assert spool.used == 0
        assert find(store, LARGE) is None

    def test_equal_bytes_that_come_a_second_time_use_the_same_file(self, store, spool):
        with add(store, spool, LARGE) as one, add(store, spool, LARGE) as two:
            assert one.path == two.path
            assert files(spool) == [one.path]
            assert spool.used == len(LARGE)

    def test_others_are_not_found(self, store, spool):
        with add(store, spool, SMALL):
            assert find(store, b"other") is None
            assert store.find(None) is None

    def test_the_type_is_identified_once_for_all(self, store, spool, monkeypatch):
        from psengine_host import filetypes

        for data in (SMALL, LARGE):
            with add(store, spool, data) as one, find(store, data) as before:
                assert before.mimetype == one.mimetype
                with monkeypatch.context() as patched:
                    patched.setattr(filetypes, "identify_bytes", None)
                    patched.setattr(filetypes, "identify_path", None)
                    with find(store, data) as two:
                        assert two.mimetype == one.mimetype

    def test_nothing_is_hashed_again(self, store, spool, monkeypatch):
        with add(store, spool, LARGE) as one, monkeypatch.context() as patched:
            patched.setattr(hashlib, "sha256", None)
            assert one.sha256 == sha256_of_large
            one.check_sha256(sha256_of_large)
            one.path.read_bytes()
            one.check_unchanged()

    @pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize(
        "ask",
        [Artifact.read_bytes, Artifact.open, lambda artifact: artifact.path, lambda artifact: artifact.mimetype],
        ids=["read_bytes", "open", "path", "mimetype"],
    )
    def test_a_closed_one_says_so_while_others_still_use_the_bytes(self, store, spool, data, ask):
        with add(store, spool, data) as other, find(store, data) as artifact:
            assert artifact.size == len(data)
            artifact.close()
            with pytest.raises(ArtifactError) as caught:
                ask(artifact)
            assert str(caught.value) == "found: is closed; its bytes can be had until close() only"
            assert (artifact.size, artifact.sha256, artifact.name) == (len(data), sha256(data), "found")
            assert other.read_bytes() == data

    def test_a_uri_of_one(self, store, spool):
        from psengine_host.network.data_uris import decode_data_uri

        with add(store, spool, SMALL) as small, add(store, spool, LARGE) as large:
            assert decode_data_uri(small.uri, 100).data == SMALL
            assert large.uri == f"file://{large.path}"

    def test_threads_that_share_and_let_go_at_once(self, store, spool):
        """Whoever gets a share finds the file, whatever the others do at the same time."""
        wrong, begin = [], threading.Barrier(8, timeout=60)

        def work() -> None:
            begin.wait()
            try:
                for _ in range(100):
                    with find(store, LARGE) or add(store, spool, LARGE) as artifact:
                        if os.stat(artifact.path).st_size != len(LARGE):
                            wrong.append("size")
                    artifact.close()
            except BaseException as error:
                wrong.append(error)
                raise

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert files(spool) == []
        assert spool.used == 0


sha256_of_large = sha256(LARGE)


class TestRetained:
    def test_a_small_one_that_was_let_go_is_found_again(self, store, spool):
        with add(store, spool, SMALL) as artifact:
            assert artifact.path.exists()
        assert files(spool) == []
        with find(store, SMALL) as again:
            assert again.read_bytes() == SMALL
            assert again.path.read_bytes() == SMALL
        assert files(spool) == []

    def test_only_the_last_few(self, store, spool):
        for number in range(RETAINED + 5):
            add(store, spool, b"%d" % number).close()
        kept = [number for number in range(RETAINED + 5) if find(store, b"%d" % number) is not None]
        assert kept == list(range(5, RETAINED + 5))

    def test_one_that_is_used_again_is_the_last_again(self, store, spool):
        add(store, spool, b"first").close()
        for number in range(RETAINED - 1):
            add(store, spool, b"%d" % number).close()
        find(store, b"first").close()
        add(store, spool, b"one more").close()
        assert store.find(sha256(b"0")) is None
        assert store.find(sha256(b"first")) is not None

    def test_only_a_few_mebibytes(self, store, spool):
        contents = [bytes([number]) * KEPT_IN_MEMORY for number in range(8)]
        for content in contents:
            add(store, spool, content).close()
        kept = [content for content in contents if store.find(sha256(content)) is not None]
        assert kept == contents[-(RETAINED_BYTES // KEPT_IN_MEMORY) :]

    def test_none_after_the_end(self, store, spool):
        add(store, spool, SMALL).close()
        late = add(store, spool, b"late")
        store.close()
        assert find(store, SMALL) is None
        assert late.read_bytes() == b"late"
        late.close()
        assert find(store, b"late") is None


class Source:
    """Equal to all others, as two bounties may be."""

    def __eq__(self, other):
        return isinstance(other, Source)

    def __hash__(self):
        return 0


class TestSources:
    def test_what_was_fetched_for_the_same_object_is_found_without_a_hash(self, store, spool):
        mine, other = Source(), Source()
        add(store, spool, SMALL, mine).close()
        assert store.find(None, mine).content == SMALL
        assert store.find(None, other) is None

    def test_the_hash_decides_where_there_is_one(self, store, spool):
        mine = Source()
        add(store, spool, SMALL, mine).close()
        assert store.find(sha256(b"other"), mine) is None

    def test_it_is_forgotten_with_the_bytes(self, store, spool):
        mine = Source()
        add(store, spool, LARGE, mine).close()
        assert store.find(None, mine) is None

    def test_of_many_only_the_last_are_remembered(self, store, spool):
        sources = [Source() for _ in range(100)]
        with add(store, spool, SMALL):
            for source in sources:
                add(store, spool, SMALL, source).close()
            found = [store.find(None, source) is not None for source in sources]
        assert 0 < sum(found) < 20
        assert found == sorted(found)


class TestTampering:
    """An engine runs as the same user and may change or remove what lies in the spool."""

    def test_a_changed_file_is_not_handed_out(self, store, spool):
        with add(store, spool, LARGE) as artifact:
            artifact.path.chmod(0o600)
            artifact.path.write_bytes(b"!" * len(LARGE))
            assert find(store, LARGE) is None
            with pytest.raises(ArtifactError, match="changed while it was read"):
                artifact.check_unchanged()
            with add(store, spool, LARGE) as fresh:
                assert fresh.path != artifact.path
                assert fresh.path.read_bytes() == LARGE
                assert find(store, LARGE).path == fresh.path

    def test_nor_one_whose_time_was_set_back(self, store, spool):
        with add(store, spool, LARGE) as artifact:
            before = artifact.path.stat()
            artifact.path.chmod(0o600)
            artifact.path.write_bytes(b"!" * len(LARGE))
            os.utime(artifact.path, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert find(store, LARGE) is None

    def test_a_link_in_its_place_is_not_followed(self, store, spool, tmp_path):
        outside = tmp_path / "outside"
        outside.write_bytes(LARGE)
        outside.chmod(0o644)
        with add(store, spool, LARGE) as artifact:
            artifact.path.unlink()
            artifact.path.symlink_to(outside)
            assert find(store, LARGE) is None
            with pytest.raises(ArtifactError, match="too many levels of symbolic links"):
                artifact.read_bytes()
        assert outside.read_bytes() == LARGE
        assert stat.S_IMODE(outside.stat().st_mode) == 0o644
        assert files(spool) == []

    def test_a_removed_file(self, store, spool):
        with add(store, spool, LARGE) as artifact:
            artifact.path.unlink()
            assert find(store, LARGE) is None
        assert spool.used == 0

    def test_a_link_or_another_mode_is_no_change(self, store, spool):
        with add(store, spool, LARGE) as artifact:
            os.link(artifact.path, spool.folder / "link")
            artifact.path.chmod(0o440)
            with find(store, LARGE) as other:
                assert other.path == artifact.path
                other.check_unchanged()
            artifact.check_unchanged()

    def test_the_file_of_bytes_in_memory_is_made_anew(self, store, spool):
        with add(store, spool, SMALL) as one, find(store, SMALL) as two:
            one.path.chmod(0o600)
            one.path.write_bytes(b"other")
            assert two.path.read_bytes() == SMALL
            two.check_unchanged()
            with pytest.raises(ArtifactError):
                one.check_unchanged()

    @pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
    @pytest.mark.parametrize("data", [SMALL, LARGE, b""])
    def test_another_kind_of_file_in_its_place_ends_nothing(self, store, spool, data, make):
        with add(store, spool, data) as artifact:
            path = artifact.path
            path.unlink()
            make(path)
            descriptors = len(os.listdir("/proc/self/fd"))
            other = find(store, data)
            if data is LARGE:
                assert other is None
            else:
                assert other.path.is_file()
                assert other.path.read_bytes() == data
                other.close()
            assert len(os.listdir("/proc/self/fd")) == descriptors
            with pytest.raises(ArtifactError):
                artifact.check_unchanged()
        assert files(spool) == []
        assert spool.used == 0

    def test_a_changed_large_file_without_its_bytes_is_told(self, store, spool):
        with add(store, spool, LARGE) as one, find(store, LARGE) as two:
            one.path.unlink()
            with pytest.raises(ArtifactError) as caught:
                _ = two.path
            message = f"the spooled file of the artifact {sha256_of_large} was changed or removed"
            assert str(caught.value) == message
