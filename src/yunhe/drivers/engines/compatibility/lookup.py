"""Looking a combination up. What no source speaks of is unknown, never unsupported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yunhe.drivers.engines.compatibility.model import Answer, CompatibilityFile, NamesFile, Product, Row


@dataclass(frozen=True, slots=True)
class Compatibility:
    """All makers' files, by every name of the maker."""

    makers: Mapping[str, CompatibilityFile]
    #: Other spelling -> the name used in the files.
    families: Mapping[str, str]
    precisions: Mapping[str, str]

    def verdict(
        self, maker: str, engine: str, version: str, family: str, precision: str, chip: str | None = None
    ) -> Answer:
        """Whether the engine of this version runs the family in the precision on the maker's chips, and who says so.

        Names may be spelled as weights and inventories spell them. ``version`` "" means any. With ``chip`` (its id)
        rows of other chips do not count; without it a refusal for some chips is no refusal.
        """
        file = self.makers.get(_plain(maker))
        if file is None:
            return Answer("unknown", f"no source here speaks of chips by {maker}")
        product = next((known for known in file.products if known.engine == engine), None)
        if product is None:
            return Answer("unknown", f"no source here says whether {engine} runs on chips by {file.maker}")
        if product.status == "not":
            return Answer(
                "not", product.note or f"{engine} does not run on chips by {file.maker}", _titles(file, product)
            )
        family, precision = self._family(family), self._precision(precision)
        rows = [
            row
            for row in file.rows
            if row.engine == engine and family in row.families and precision in row.precisions and _of_chip(row, chip)
        ]
        said = [row for row in rows if _of_version(row, version)]
        if not said:
            return _unsaid(file, product, rows, version, f"{family} in {precision}")
        best = min(said, key=_preference)
        return _answer(file, product, best, f"{family} in {precision}")

    def _family(self, name: str) -> str:
        return self.families.get(_plain(name), _plain(name))

    def _precision(self, name: str) -> str:
        return self.precisions.get(_plain(name), _plain(name))


def assemble(files: Sequence[CompatibilityFile], names: NamesFile) -> Compatibility:
    """All files together. Raises ValueError for a name given twice, a missing source, or rows that contradict."""
    makers: dict[str, CompatibilityFile] = {}
    for file in files:
        for name in (file.maker, *file.aliases):
            if name in makers:
                raise ValueError(f"two files for the maker {name!r}")
            makers[name] = file
        _check(file)
    return Compatibility(makers, _inverted(names.families), _inverted(names.precisions))


def _inverted(names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, spellings in names.items():
        for spelling in (name, *spellings):
            if found.setdefault(_plain(spelling), name) != name:
                raise ValueError(f"{spelling!r} stands for two names")
    return found


def _check(file: CompatibilityFile) -> None:
    engines = [product.engine for product in file.products]
    if len(engines) != len(set(engines)):
        raise ValueError(f"{file.maker}: an engine stands twice among the products")
    entries: list[Product | Row] = [*file.products, *file.rows]
    for entry in entries:
        if missing := set(entry.sources) - set(file.sources):
            raise ValueError(f"{file.maker}: no source {', '.join(sorted(missing))}")
    seen: dict[tuple[str, ...], str] = {}
    for row in file.rows:
        if row.engine not in engines:
            raise ValueError(f"{file.maker}: rows of {row.engine}, which is not among the products")
        for family in row.families:
            for precision in row.precisions:
                key = (row.engine, row.since, row.until, family, precision, *row.chips)
                if seen.setdefault(key, row.status) != row.status:
                    raise ValueError(f"{file.maker}: two verdicts on {row.engine}, {family} in {precision}")


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def _of_chip(row: Row, chip: str | None) -> bool:
    if not row.chips:
        return True
    if chip is None:
        return row.status != "not"
    return any(part in _plain(chip) for part in row.chips)


def _release(version: str) -> tuple[int, ...]:
    """Leading numbers: 0.22.0rc1+cu130 -> (0, 22, 0)."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def _of_version(row: Row, version: str) -> bool:
    release = _release(version)
    if not release:
        return True
    until = _release(row.until)
    return _release(row.since) <= release and (not until or release[: len(until)] <= until)


def _preference(row: Row) -> tuple[bool, bool, bool]:
    """Rows of a chip before rows of all, what runs before what does not, the tested before the experimental."""
    return (not row.chips, row.status == "not", row.experimental)


def _titles(file: CompatibilityFile, entry: Product | Row) -> tuple[str, ...]:
    return tuple(file.sources[key].title for key in entry.sources)


def _answer(file: CompatibilityFile, product: Product, row: Row, what: str) -> Answer:
    package = row.plugin or product.plugin
    where = f" ({', '.join(row.chips)})" if row.chips else ""
    on = f"{what} on chips by {file.maker}{where}"
    if row.status == "not":
        reason = f"{product.engine} does not run {on}"
    elif row.status == "plugin":
        reason = f"{product.engine} runs {on} with {package}"
    else:
        reason = f"{product.engine} runs {on}"
    if row.experimental:
        reason += ", experimentally"
    if row.note:
        reason += f": {row.note}"
    plugin = package if row.status == "plugin" else ""
    return Answer(row.status, reason, _titles(file, row), plugin, row.experimental)


def _unsaid(file: CompatibilityFile, product: Product, rows: Sequence[Row], version: str, what: str) -> Answer:
    by = f" with {product.plugin}" if product.plugin else ""
    runs = f"{product.engine} runs on chips by {file.maker}{by}"
    if rows:
        spans = sorted({f"{row.since or 'any'} to {row.until or 'any'}" for row in rows})
        reason = f"{runs}; of {what} the sources speak for versions {', '.join(spans)}, not for {version}"
    else:
        reason = f"{runs}; the sources do not speak of {what}"
    return Answer("unknown", reason, _titles(file, product), product.plugin)
