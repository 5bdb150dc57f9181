"""Where our kernels go into the engine's source, and that they never go in by half."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from yunhe.drivers.engines.llamacpp import source

BEFORE = f"namespace repack {{\n{source._CLASS}}};\n}}\n{source._CHOICE}    return nullptr;\n}}\n"


def test_both_places_get_their_lines_once() -> None:
    after = source.with_kernels(BEFORE)
    assert after is not None
    assert after.count('#include "yunhe_repack.h"') == 1
    assert after.index('#include "yunhe_repack.h"') < after.index(source._CLASS)
    assert after.index(source._CHOICE) < after.index("YUNHE_REPACK") < after.index("return nullptr")


@pytest.mark.parametrize("text", ["", source._CLASS, source._CHOICE, BEFORE + source._CLASS, BEFORE + source._CHOICE])
def test_a_source_that_looks_different_is_left_alone(text: str) -> None:
    assert source.with_kernels(text) is None


def test_a_tampered_archive_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = tmp_path / "source.tar.gz"
    archive.write_bytes(b"something else")
    assert source.main([str(archive), str(tmp_path / "out")]) == 1
    assert "expected" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_only_the_engine_is_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in ("p-1/vendor/llama.cpp/ggml/a.cpp", "p-1/llama_cpp/b.py", "p-1/vendor/llama.cpp/../../../up.txt"):
            info = tarfile.TarInfo(name)
            info.size = 1
            tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(tarfile.OutsideDestinationError):
        source.unpack(archive, tmp_path / "out")
    assert not (tmp_path / "up.txt").exists()
    assert (tmp_path / "out" / "ggml" / "a.cpp").is_file() and not (tmp_path / "out" / "llama_cpp").exists()


def test_the_kernels_are_complete_for_both_formats() -> None:
    text = source.KERNELS.read_text(encoding="utf-8")
    for kind in ("block_q4_1", "block_q8_0"):
        for name in (f"repack<{kind}, 8, 16>", f"gemv<{kind}, 8, 16, GGML_TYPE_Q8_0>", f"gemm<{kind}, 8, 16"):
            assert text.count(name) == 1, name
    assert text.count("#if") == text.count("#endif")
