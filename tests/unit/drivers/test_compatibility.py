"""What is published of engines on chips: sound data with sources, and a lookup that never makes a no of not knowing."""

from __future__ import annotations

from dataclasses import replace as replaced

import msgspec
import pytest

from yunhe.drivers.engines.compatibility import load, verdict
from yunhe.drivers.engines.compatibility.lookup import assemble
from yunhe.drivers.engines.compatibility.model import CompatibilityFile, NamesFile, Product, Row

MAKERS = {"nvidia", "amd", "intel", "huawei", "metax", "kunlunxin", "cambricon", "moore-threads", "hygon"}
NAMES = NamesFile(schema=1, families={"qwen3": ("Qwen3ForCausalLM",)}, precisions={"bf16": ("bfloat16",)})


def packaged() -> dict[str, CompatibilityFile]:
    return {file.maker: file for file in load().makers.values()}


def test_every_maker_of_the_mission_has_a_file() -> None:
    assert set(packaged()) >= MAKERS


def test_every_source_is_used_and_says_where() -> None:
    for file in packaged().values():
        used = {key for product in file.products for key in product.sources}
        used |= {key for row in file.rows for key in row.sources}
        assert used == set(file.sources)
        assert all(source.url or source.kind == "measurement" for source in file.sources.values())


def test_every_family_of_the_rows_is_a_name_that_no_spelling_shadows() -> None:
    known = load()
    for file in packaged().values():
        for row in file.rows:
            for family in row.families:
                assert known.families.get(family, family) == family
            for precision in row.precisions:
                assert known.precisions.get(precision, precision) == precision or precision == "fp32"


def test_a_plugin_row_has_a_plugin() -> None:
    for file in packaged().values():
        products = {product.engine: product for product in file.products}
        for row in file.rows:
            assert products[row.engine].status != "not"
            assert row.status != "plugin" or products[row.engine].plugin


@pytest.mark.parametrize(
    ("maker", "engine", "version", "family", "precision", "chip", "status"),
    [
        ("huawei", "vllm", "0.23.0.post1", "deepseek-r1", "w8a8", "ascend-910b3", "plugin"),
        ("ascend", "vllm", "", "Qwen3ForCausalLM", "bfloat16", None, "plugin"),
        ("huawei", "vllm", "0.23.0", "qwen3", "bf16", "ascend-310p3", "not"),
        ("huawei", "vllm", "0.23.0", "qwen3", "w8a8", "ascend-310p3", "plugin"),
        ("huawei", "lmdeploy", "0.18.0", "qwen3", "w8a8", "ascend-910b3", "not"),
        ("huawei", "mindie", "", "deepseek-v3.1", "w4a8", "ascend-910b3", "supported"),
        ("huawei", "mindie", "", "deepseek-v3", "w8a8", "ascend-310p3", "not"),
        ("nvidia", "mindie", "", "qwen3", "bf16", None, "not"),
        ("nvidia", "vllm", "0.33.0", "smollm2", "f16", "nvidia-h20", "supported"),
        ("metax", "vllm", "0.22.0", "qwen3", "bf16", "metax-c500", "plugin"),
        ("mthreads", "vllm", "0.28.0", "qwen3", "fp8", "mthreads-s5000", "plugin"),
        ("kunlunxin", "vllm", "0.15.1", "kimi-k2", "w8a8", None, "plugin"),
        ("cambricon", "lmdeploy", "", "qwen2-vl", "fp16", None, "not"),
        ("intel", "llamacpp", "", "smollm2", "q4_1", "cpu-intel-xeon", "supported"),
    ],
)
def test_the_tables_answer_as_published(
    maker: str, engine: str, version: str, family: str, precision: str, chip: str | None, status: str
) -> None:
    answer = verdict(maker, engine, version, family, precision, chip)
    assert answer.status == status
    assert answer.reason
    assert answer.sources
    assert bool(answer.plugin) is (status == "plugin")


@pytest.mark.parametrize(
    ("maker", "engine", "version", "family", "precision"),
    [
        ("nobody", "vllm", "", "qwen3", "bf16"),
        ("huawei", "no-such-engine", "", "qwen3", "bf16"),
        ("huawei", "vllm", "", "no-such-family", "bf16"),
        ("huawei", "vllm", "", "qwen3", "no-such-precision"),
        ("metax", "vllm", "0.33.0", "qwen3", "bf16"),
        ("hygon", "lmdeploy", "", "qwen3", "bf16"),
        ("huawei", "mindie", "", "glm-4-moe", "w4a16"),
    ],
)
def test_what_no_source_speaks_of_is_unknown_and_says_what_is_missing(
    maker: str, engine: str, version: str, family: str, precision: str
) -> None:
    answer = verdict(maker, engine, version, family, precision)
    assert answer.status == "unknown"
    assert answer.reason


def test_a_no_for_some_chips_is_no_answer_while_the_chip_is_not_named() -> None:
    assert verdict("huawei", "mindie", "", "glm-4-moe", "w4a8", "ascend-310p3").status == "not"
    assert verdict("huawei", "mindie", "", "glm-4-moe", "w4a8").status == "unknown"


def sample(*rows: Row) -> CompatibilityFile:
    file = packaged()["metax"]
    return msgspec.structs.replace(
        file,
        maker="sample",
        aliases=(),
        products=(Product("vllm", "plugin", ("metax-models",), "vllm-metax"),),
        rows=rows,
    )


def row(**changes: object) -> Row:
    return msgspec.structs.replace(Row("vllm", ("qwen3",), ("bf16",), "plugin", ("metax-models",)), **changes)


@pytest.mark.parametrize(
    "rows",
    [
        (row(), row(status="not")),
        (row(sources=("no-such-source",)),),
        (row(engine="sglang"),),
    ],
    ids=["contradiction", "missing source", "engine that is no product"],
)
def test_unsound_files_are_refused(rows: tuple[Row, ...]) -> None:
    with pytest.raises(ValueError, match="sample"):
        assemble([sample(*rows)], NAMES)


def test_two_files_for_a_maker_and_a_spelling_of_two_names_are_refused() -> None:
    with pytest.raises(ValueError, match="two files"):
        assemble([sample(row()), sample(row())], NAMES)
    with pytest.raises(ValueError, match="two names"):
        assemble([sample(row())], NamesFile(schema=1, families={"a": ("b",), "c": ("b",)}, precisions={}))


def test_versions_are_compared_by_number_and_the_end_takes_its_patches() -> None:
    known = assemble([sample(row(since="0.9", until="0.22"))], NAMES)
    said = {version: known.verdict("sample", "vllm", version, "qwen3", "bf16").status for version in VERSIONS}
    assert said == VERSIONS


VERSIONS = {
    "0.8.5": "unknown",
    "0.9.0": "plugin",
    "0.10.2": "plugin",
    "v0.22.1rc1": "plugin",
    "0.23": "unknown",
    "": "plugin",
}


def test_a_row_of_the_chip_counts_before_one_of_all_chips() -> None:
    known = assemble([sample(row(status="not", chips=("n260",)), row())], NAMES)
    assert known.verdict("sample", "vllm", "", "qwen3", "bf16", "metax-n260").status == "not"
    assert known.verdict("sample", "vllm", "", "qwen3", "bf16", "metax-c500").status == "plugin"
    assert replaced(known).verdict("sample", "vllm", "", "qwen3", "bf16").status == "plugin"
