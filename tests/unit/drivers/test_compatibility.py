"""What is published of engines on chips: sound data with sources, and a lookup that never makes a no of not knowing."""

from __future__ import annotations

from dataclasses import replace as replaced

import msgspec
import pytest

from yunhe.drivers.engines.compatibility import load, verdict
from yunhe.drivers.engines.compatibility.lookup import assemble
from yunhe.drivers.engines.compatibility.model import CompatibilityFile, NamesFile, Product, Row

MAKERS = {"nvidia", "amd", "intel", "huawei", "metax", "kunlunxin", "cambricon", "moore-threads", "hygon"}
MAKERS |= {"iluvatar", "enflame", "biren", "t-head"}
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
            assert row.status != "plugin" or row.plugin or products[row.engine].plugin


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
        ("iluvatar", "vllm", "", "qwen3", "bfloat16", "mr-v100", "supported"),
        ("corex", "vllm", "0.28.0", "qwen3.6-moe", "bf16", "bi-v150", "plugin"),
        ("iluvatar", "vllm", "", "deepseek-v3.1", "w4a8", "mr-v100", "supported"),
        ("iluvatar", "lmdeploy", "", "internlm3", "bf16", "mr-v100", "supported"),
        ("enflame", "vllm", "0.9.2", "Qwen3ForCausalLM", "gptq", "enflame-s60", "plugin"),
        ("enflame", "vllm", "0.9.2", "qwen3", "fp8", "enflame-s60", "not"),
        ("gcu", "vllm", "", "deepseek-r1", "awq", "enflame-s60", "plugin"),
        ("biren", "vllm", "0.27.1", "qwen3", "bf16", "br200", "plugin"),
        ("thead", "vllm", "0.31.0", "qwen3-next", "bf16", "t-head-ppu", "plugin"),
        ("t-head", "mindie", "", "qwen3", "bf16", None, "not"),
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
        ("enflame", "vllm", "0.9.2", "deepseek-v3", "bf16"),
        ("enflame", "vllm", "0.24.0", "qwen3", "bf16"),
        ("enflame", "sglang", "", "qwen3.6", "bf16"),
        ("biren", "vllm", "0.27.1", "llama", "bf16"),
        ("t-head", "sglang", "", "qwen3", "bf16"),
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


def test_a_row_may_need_another_package_than_its_product() -> None:
    assert verdict("t-head", "vllm", "0.28.0", "qwen3.6-moe", "bf16", "t-head-ppu").plugin == "vllm-plugin-fl"
    tested = verdict("t-head", "vllm", "", "qwen3.6-moe", "bf16", "t-head-ppu")
    assert (tested.plugin, tested.experimental) == ("vllm-plugin-fl", False)
    assert tested.reason.endswith("with vllm-plugin-fl: Qwen3.6-35B-A3B on four ZW810E")
    assert verdict("t-head", "vllm", "0.31.0", "qwen3.6-moe", "bf16", "t-head-ppu").plugin == "vllm-sail"


def test_what_is_said_of_one_chip_is_not_said_of_another_of_its_maker() -> None:
    assert verdict("biren", "vllm", "0.27.1", "qwen3", "bf16", "br106").status == "unknown"
    assert verdict("iluvatar", "vllm", "", "qwen3", "bf16", "bi-v150").status == "unknown"
    assert verdict("enflame", "vllm", "0.9.2", "qwen3", "fp8", "dtu-t20").status == "unknown"


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
