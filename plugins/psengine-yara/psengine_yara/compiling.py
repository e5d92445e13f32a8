"""Rule files to compiled rules, kept in the state directory so that a second start need not compile again.

Two files a rule set: ``rules-<sha256>.yarx``, what YARA-X wrote, named by its content, and ``rules-<key>.json``, the
:class:`Manifest`, found by the key of everything that went in. Loading compiled rules runs code that is in them, so a
file is loaded only if its content still has the checksum of the manifest; anything else is compiled again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import platform
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from psengine_yara.sources import RuleFile, Skipped
from psengine_yara.verdicts import judge

if TYPE_CHECKING:
    import yara_x

__all__ = ["DamagedRules", "Manifest", "compile_files", "key_of", "load", "prepare"]

_FORMAT: Final = 1
"""Raised whenever what this module writes, or how it compiles, changes."""
_KEPT: Final = 4
"""Rule sets that stay in the state directory: workers of the generation before may still need theirs."""
EXTERNALS: Final = ("filename", "filepath", "extension", "filetype", "owner")
"""External variables that rules in circulation expect. Empty here: an answer depends on the content alone."""


class DamagedRules(Exception):
    """Compiled rules that are missing, or are not those that were written."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a set of compiled rules.

    Args:
        key: Hash of all that went in.
        blob: File name of the compiled rules.
        sha256: Hash of that file.
        content: Hash of the rule files' texts alone, wherever they were: equal rules have an equal one.
        released: The newest date that a rule's metadata names, else the day of compiling (UTC).
        files: How many rule files were compiled.
        rules: How many rules there are.
        origins: For each namespace the file or package it came from.
        skipped: Rule files that do not compile, and why.
        warnings: Metadata that was not taken, by file.
    """

    key: str
    blob: str
    sha256: str
    content: str
    released: date
    files: int
    rules: int
    origins: dict[str, str]
    skipped: tuple[Skipped, ...]
    warnings: tuple[Skipped, ...]

    @property
    def signatures_version(self) -> str:
        """Date and short content hash, such as ``2026.11.25-1a2b3c4d``."""
        return f"{self.released:%Y.%m.%d}-{self.content[:8]}"


def key_of(files: Iterable[RuleFile]) -> str:
    """The hash of all that decides what is compiled: the files, YARA-X, this module's format and the processor.

    Args:
        files: The rule files.
    """
    digest = hashlib.sha256(f"{_FORMAT} {version('yara-x')} {platform.machine()}\n".encode())
    for file in files:
        text = hashlib.sha256(file.text.encode()).hexdigest()
        digest.update(f"{len(file.namespace)} {file.namespace} {text}\n".encode())
    return digest.hexdigest()


def prepare(files: Sequence[RuleFile], folder: Path, *, rebuild: bool = False) -> Manifest:
    """Have compiled rules in the folder: those that are there if they are of these files and sound, else new ones.

    Args:
        files: The rule files.
        folder: The state directory; made if it is missing.
        rebuild: Compile even if sound ones are there.

    Returns:
        The manifest of the compiled rules.

    Raises:
        OSError: The folder cannot be written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = key_of(files)
    manifest_file = folder / f"rules-{key[:32]}.json"
    if not rebuild:
        with contextlib.suppress(DamagedRules):
            manifest = _read_manifest(manifest_file, key)
            load(folder, manifest.blob, manifest.sha256)
            for name in (manifest.blob, manifest_file.name):  # in use: not to be swept
                with contextlib.suppress(OSError):
                    os.utime(folder / name)
            return manifest
    rules, compiled, skipped = compile_files(files)
    blob = _serialized(rules)
    sha256 = hashlib.sha256(blob).hexdigest()
    count, released, warnings = _survey(rules, compiled)
    manifest = Manifest(
        key=key,
        blob=f"rules-{sha256[:32]}.yarx",
        sha256=sha256,
        content=_content_of(compiled),
        released=released,
        files=len(compiled),
        rules=count,
        origins={file.namespace: file.origin for file in compiled},
        skipped=tuple(skipped),
        warnings=tuple(warnings),
    )
    # The manifest last: where it stands, what it names stands too.
    _write(folder / manifest.blob, blob)
    _write(manifest_file, msgspec.json.encode(manifest))
    _sweep(folder)
    return manifest


def load(folder: Path, blob: str, sha256: str) -> yara_x.Rules:
    """Compiled rules from the folder, checked before they are loaded.

    Args:
        folder: The state directory.
        blob: The file's name.
        sha256: The hash that its content must have.

    Returns:
        The rules.

    Raises:
        DamagedRules: The file is missing or unreadable, has other content, or is not what this YARA-X loads.
    """
    import yara_x

    try:
        raw = (folder / blob).read_bytes()
    except OSError as error:
        raise DamagedRules(f"{folder / blob}: {(error.strerror or str(error)).lower()}") from error
    if hashlib.sha256(raw).hexdigest() != sha256:
        raise DamagedRules(f"{folder / blob}: its content is not what was written")
    try:
        return yara_x.Rules.deserialize_from(io.BytesIO(raw))
    except (OSError, ValueError) as error:
        raise DamagedRules(f"{folder / blob}: {error}") from error


def compile_files(files: Iterable[RuleFile]) -> tuple[yara_x.Rules, list[RuleFile], list[Skipped]]:
    """Compile each file in its namespace; one that does not compile is left out as a whole.

    Args:
        files: The rule files.

    Returns:
        The rules, the files they are of, and the files that were left out.
    """
    good = list(files)
    skipped: list[Skipped] = []
    while True:
        compiler = _compiler()
        broken: set[str] = set()
        for file in good:
            reason = _add(compiler, file)
            if reason is not None:
                broken.add(file.namespace)
                skipped.append(Skipped(file.origin, reason))
        if not broken:
            return compiler.build(), good, skipped
        # From the start: of a file with an error the compiler keeps the rules before it.
        good = [file for file in good if file.namespace not in broken]


def _compiler() -> yara_x.Compiler:
    import yara_x

    # No includes: they would read files that are in no key, and any file of this machine for a stranger's rules.
    # Relaxed: rules in circulation are written for YARA, whose regular expressions forgive more.
    compiler = yara_x.Compiler(relaxed_re_syntax=True, includes_enabled=False)
    for name in EXTERNALS:
        compiler.define_global(name, "")
    return compiler


def _add(compiler: yara_x.Compiler, file: RuleFile) -> str | None:
    """Add one file; why that failed, in one line, or None."""
    import yara_x

    known = len(compiler.errors())
    try:
        compiler.new_namespace(file.namespace)
        compiler.add_source(file.text, origin=file.origin)
    except yara_x.CompileError as error:
        errors = compiler.errors()[known:]
        return _reason(errors[0], len(errors)) if errors else " ".join(str(error).split())
    except BaseException as error:
        # A panic in YARA-X comes as a BaseException of a type that cannot be imported; it is this file's fault.
        if type(error).__name__ != "PanicException":
            raise
        return f"YARA-X fails on it ({' '.join(str(error).split())[:200]})"
    return None


def _reason(error: dict[str, object], count: int) -> str:
    """YARA-X's first error as one line: place, title, and what it says of the place."""
    labels = error.get("labels")
    label = labels[0].get("text") if isinstance(labels, list) and labels else None
    detail = f" ({label})" if label else ""
    more = f"; {count - 1} more errors" if count > 1 else ""
    return " ".join(f"line {error.get('line')}: {error.get('title')}{detail}{more}".split())


def _survey(rules: yara_x.Rules, files: Iterable[RuleFile]) -> tuple[int, date, list[Skipped]]:
    """How many rules there are, the newest date they name, and what is wrong with their metadata."""
    origins = {file.namespace: file.origin for file in files}
    today = datetime.now(UTC).date()
    count, dates, warnings = 0, [], []
    for rule in rules:
        count += 1
        _, problems = judge(rule)
        origin = origins.get(rule.namespace, rule.namespace)
        warnings += [Skipped(origin, f"rule {rule.identifier}: {problem}") for problem in problems]
        for key, value in rule.metadata:
            if key == "date" and isinstance(value, str):
                with contextlib.suppress(ValueError):
                    dates.append(date.fromisoformat(value.strip()))
    return count, max((each for each in dates if each <= today), default=today), warnings


def _content_of(files: Iterable[RuleFile]) -> str:
    texts = sorted(hashlib.sha256(file.text.encode()).hexdigest() for file in files)
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _serialized(rules: yara_x.Rules) -> bytes:
    buffer = io.BytesIO()
    rules.serialize_into(buffer)
    return buffer.getvalue()


def _read_manifest(file: Path, key: str) -> Manifest:
    try:
        manifest = msgspec.json.decode(file.read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedRules(f"{file}: {error}") from error
    if manifest.key != key or Path(manifest.blob).name != manifest.blob:
        raise DamagedRules(f"{file}: is of other rules")
    return manifest


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step: a reader sees the old or the new content, never a part."""
    descriptor, temporary = tempfile.mkstemp(prefix=".rules-", dir=path.parent)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _sweep(folder: Path) -> None:
    """Remove all but the newest rule sets, and what interrupted writers left an hour ago or earlier."""
    for pattern in ("rules-*.yarx", "rules-*.json"):
        for old in sorted(folder.glob(pattern), key=_changed, reverse=True)[_KEPT:]:
            with contextlib.suppress(OSError):
                old.unlink()
    for left in folder.glob(".rules-*"):
        if _changed(left) < time.time() - 3600:
            with contextlib.suppress(OSError):
                left.unlink()


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
