import errno
import os
import stat

import pytest

from unsnarl.errors import FileError, OptionError
from unsnarl.files import atomic_write, check_readable


def test_writes_bytes_and_text_and_leaves_nothing_else(tmp_path):
    with atomic_write(tmp_path / "a.bin") as file:
        file.write(b"\x00\xff")
    with atomic_write(tmp_path / "a.txt", "w") as file:
        file.write("größer\r\n")
    assert (tmp_path / "a.bin").read_bytes() == b"\x00\xff"
    assert (tmp_path / "a.txt").read_bytes() == "größer\r\n".encode()
    assert sorted(os.listdir(tmp_path)) == ["a.bin", "a.txt"]


def test_the_old_file_is_seen_until_the_block_ends(tmp_path):
    target = tmp_path / "a"
    target.write_text("old")
    with atomic_write(target, "w") as file:
        file.write("new")
        file.flush()
        assert target.read_text() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, FileNotFoundError(2, "other file")])
def test_an_exception_in_the_block_keeps_the_old_file_and_passes_through(tmp_path, error):
    target = tmp_path / "a"
    target.write_text("old")
    kind = error if isinstance(error, type) else type(error)
    with pytest.raises(kind), atomic_write(target, "w") as file:  # noqa: PT012
        file.write("new")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path, monkeypatch, where):
    target = tmp_path / "a"
    target.write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"unsnarl.files.os.{where}", full)
    with pytest.raises(FileError) as caught, atomic_write(target, "w") as file:
        file.write("new")
    assert str(caught.value) == f"cannot write {target}: no space left on device"
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_full_device(size):
    with (
        pytest.raises(FileError, match="cannot write /dev/full: no space left on device"),
        atomic_write("/dev/full") as f,
    ):
        f.write(b"x" * size)
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)  # not replaced by a file


def test_links_and_permissions_survive(tmp_path):
    target, link = tmp_path / "a", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with atomic_write(link, "w") as file:
        file.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_file_has_the_usual_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "a"):
        pass
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("name", "message"),
    [("", "is a folder"), ("no/a", "does not exist; make it first"), ("n" * 300, "file name too long")],
)
def test_targets_that_cannot_be_written(tmp_path, name, message):
    with pytest.raises(FileError, match=message), atomic_write(tmp_path / name):
        pass


def test_only_whole_files(tmp_path):
    with pytest.raises(OptionError, match="mode='a' is not allowed"), atomic_write(tmp_path / "a", "a"):
        pass


def test_no_permission_to_read(tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("x\n1\n")

    def closed(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("builtins.open", closed)
    with pytest.raises(FileError, match=r"cannot read .*a\.csv: permission denied"):
        check_readable(tmp_path / "a.csv")
