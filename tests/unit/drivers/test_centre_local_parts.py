from __future__ import annotations

from pathlib import Path

import pytest

from yunhe.drivers.centres.local import cgroups, log_segments

UNLIMITED_V1 = "9223372036854771712\n"


class Tree:
    """A control group tree of plain files."""

    def __init__(self, root: Path, membership: str) -> None:
        self.root = root / "cgroup"
        self.membership = root / "membership"
        self.root.mkdir(parents=True)
        self.membership.write_text(membership)

    def write(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    @property
    def places(self) -> tuple[Path, Path]:
        return self.root, self.membership


@pytest.fixture
def version_1(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "one", "4:memory:/box/job\n2:cpuset:/\n1:cpu,cpuacct:/box\n0::/\n")
    tree.write("memory/memory.limit_in_bytes", UNLIMITED_V1)
    tree.write("memory/box/memory.limit_in_bytes", "5000\n")
    tree.write("memory/box/job/memory.limit_in_bytes", UNLIMITED_V1)
    tree.write("cpu/cpu.cfs_quota_us", "-1\n")
    tree.write("cpu/cpu.cfs_period_us", "100000\n")
    tree.write("cpu/box/cpu.cfs_quota_us", "150000\n")
    tree.write("cpu/box/cpu.cfs_period_us", "100000\n")
    return tree


@pytest.fixture
def version_2(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "two", "0::/user/job\n")
    tree.write("cgroup.controllers", "cpu memory pids\n")
    tree.write("user/memory.max", "7000\n")
    tree.write("user/job/memory.max", "max\n")
    tree.write("user/job/cpu.max", "300000 100000\n")
    tree.write("user/cpu.max", "max 100000\n")
    return tree


def test_the_least_limit_on_the_way_up_counts(version_1: Tree, tmp_path: Path) -> None:
    assert cgroups.memory_limit_bytes(*version_1.places) == 5000
    assert cgroups.cpu_limit_cores(*version_1.places) == 2


def test_version_2_is_read_from_its_one_tree(version_2: Tree) -> None:
    assert cgroups.memory_limit_bytes(*version_2.places) == 7000
    assert cgroups.cpu_limit_cores(*version_2.places) == 3


def test_a_path_of_the_outer_host_means_the_mount_itself(version_1: Tree) -> None:
    version_1.membership.write_text("4:memory:/docker/0123456789ab\n")
    assert cgroups.memory_limit_bytes(*version_1.places) is None


def test_no_control_groups_limit_nothing(tmp_path: Path) -> None:
    places = (tmp_path, tmp_path / "none")
    assert cgroups.memory_limit_bytes(*places) is None
    assert cgroups.cpu_limit_cores(*places) is None
    assert cgroups.make_memory_group("g", 1000, *places) is None


def test_a_directory_that_limits_nothing_is_not_taken_for_a_group(version_1: Tree, version_2: Tree) -> None:
    for tree in (version_1, version_2):
        assert cgroups.make_memory_group("g", 1000, *tree.places) is None
        assert not list(tree.root.rglob("g"))


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    (tmp_path / "000000000000010").write_bytes(b"0123456789")
    (tmp_path / "000000000000020").write_bytes(b"abcdef")
    return tmp_path


@pytest.mark.parametrize(
    ("offset", "limit", "expected"),
    [
        (0, 100, ("0123456789abcdef", 10, 26, True)),
        (15, 3, ("567", 15, 18, False)),
        (18, 4, ("89ab", 18, 22, False)),
        (26, 10, ("", 26, 26, True)),
        (100, 10, ("", 100, 100, True)),
        (-4, 100, ("cdef", 22, 26, True)),
        (-100, 2, ("01", 10, 12, False)),
    ],
)
def test_pieces_are_read_across_segments(
    segments: Path, offset: int, limit: int, expected: tuple[str, int, int, bool]
) -> None:
    piece = log_segments.read(segments, offset, limit)
    assert (piece.text, piece.offset, piece.next_offset, piece.end) == expected


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    assert log_segments.read(tmp_path / "none", 0, 10).end


@pytest.mark.parametrize("limit", range(1, 12))
def test_reading_by_any_size_comes_to_the_end_and_cuts_no_character_that_fits(tmp_path: Path, limit: int) -> None:
    text = "a运b🚢c"
    (tmp_path / "000000000000000").write_bytes(text.encode())
    offset, found = 0, ""
    while not (piece := log_segments.read(tmp_path, offset, limit)).end:
        assert piece.next_offset > offset
        offset, found = piece.next_offset, found + piece.text
    assert found + piece.text == text or limit < 4
