"""What a table is: names and typed values, which any renderer can write.

A value knows how it is shown, in parts (:class:`Shown`), and what it is as data (:meth:`Value.fields`). Renderers put
the parts together, each in its own way; they know of no particular table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from art_denoise.evaluation.statistics import PairedDifference, PairedDifferences, Share, Shares


@dataclass(frozen=True)
class Name:
    """What something is called.

    :param text: As plain text; renderers escape it.
    :param latex: In LaTeX's mathematics, without dollar signs, written as it is; "": the text, escaped.
    """

    text: str
    latex: str = ""


@dataclass(frozen=True)
class Shown:
    """A value in parts, for a reader.

    :param main: The value itself.
    :param detail: Its interval, or the like.
    :param published: The figure of others beside it.
    """

    main: str
    detail: str = ""
    published: str = ""


@dataclass(frozen=True)
class Value:
    """What stands in a place of a table."""

    @property
    def marked(self) -> bool:
        """Whether it is one of those that the table marks."""
        return False

    def shown(self) -> Shown:
        """Return the value for a reader."""
        raise NotImplementedError

    def fields(self) -> dict[str, Any]:
        """Return the value as data: JSON-like, percentages as numbers."""
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Value):
    """Words."""

    name: Name

    def shown(self) -> Shown:
        return Shown(self.name.text)

    def fields(self) -> dict[str, Any]:
        return {"value": self.name.text}


@dataclass(frozen=True)
class Number(Value):
    """A number.

    :param value: The number.
    :param digits: Digits behind the point.
    """

    value: float
    digits: int = 1

    def shown(self) -> Shown:
        return Shown(_signed(f"{self.value:.{self.digits}f}"))

    def fields(self) -> dict[str, Any]:
        return {"value": round(self.value, 4)}


@dataclass(frozen=True)
class PValue(Number):
    """A p-value by itself."""

    digits: int = 3

    def shown(self) -> Shown:
        return Shown("< 0.001") if self.value < 0.001 else super().shown()

    def fields(self) -> dict[str, Any]:
        return {"value": self.value}


@dataclass(frozen=True)
class _OfImages(Value):
    """A share of the images, with one seed or several, and the figure of others in percent."""

    share: Share | Shares
    published: float | None = None
    attacker: str = ""

    #: What it is called as data.
    _field = "share"

    def shown(self) -> Shown:
        share = self.share
        if isinstance(share, Share):
            detail = "–".join(f"{100 * bound:.1f}" for bound in share.interval)
        else:
            detail = _spread(share, len(share.shares), "{:.1f}")
            if share.interval is not None:
                detail = f"{'–'.join(f'{100 * bound:.1f}' for bound in share.interval)}; {detail}"
        published = "" if self.published is None else f"{self.published:.1f}"
        return Shown(f"{100 * share.value:.1f}", detail, published)

    def fields(self) -> dict[str, Any]:
        share = self.share
        if isinstance(share, Share):
            low, high = share.interval
            found: dict[str, Any] = {"count": share.count, "n": share.n, self._field: percent(share.value)}
            found |= {"low": percent(low), "high": percent(high)}
        else:
            lowest, highest = share.spread
            found = {"seeds": len(share.shares), "n": share.shares[0].n, self._field: percent(share.value)}
            found |= {"lowest": percent(lowest), "highest": percent(highest)}
            if share.interval is not None:
                found |= dict(zip(("low", "high"), map(percent, share.interval), strict=True))
        of_attacker = {"attacker": self.attacker} if self.attacker else {}
        return {**of_attacker, **found, "published": self.published}


@dataclass(frozen=True)
class Accuracy(_OfImages):
    """The share of images whose label is predicted right.

    :param share: The share, with one seed or several.
    :param published: The figure of others, in percent.
    :param attacker: What the attacker knows, where that differs within a row.
    :param doubted: Whether something casts doubt on it.
    :param brief: Whether it is shown by itself, without its interval.
    """

    doubted: bool = False
    brief: bool = False
    _field = "accuracy"

    @property
    def marked(self) -> bool:
        return self.doubted

    def shown(self) -> Shown:
        shown = super().shown()
        return Shown(shown.main) if self.brief else shown

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), **({"doubted": True} if self.doubted else {})}


@dataclass(frozen=True)
class Rate(_OfImages):
    """The share of images whose predicted label an attack changes.

    :param share: The share, with one seed or several.
    :param published: The figure of others, in percent.
    :param attacker: What the attacker knows.
    :param white_box: Whether it was crafted on the network that it is scored on.
    """

    white_box: bool = False
    _field = "fooling_rate"

    @property
    def marked(self) -> bool:
        return self.white_box

    def fields(self) -> dict[str, Any]:
        return {**super().fields(), "white_box": self.white_box}


@dataclass(frozen=True)
class Difference(Value):
    """A difference of accuracies on the same images, and McNemar's p.

    :param difference: The difference, with one seed or several.
    :param corrected: Its p, corrected for how many were compared; None: it is the only one.
    """

    difference: PairedDifference | PairedDifferences
    corrected: float | None = None

    @property
    def points(self) -> float:
        """The difference in percentage points."""
        return percent(self.difference.value)

    @property
    def p(self) -> float:
        """McNemar's exact p; with several seeds the largest."""
        return self.difference.p_value

    def shown(self) -> Shown:
        shown = self.p if self.corrected is None else self.corrected
        p = "p < 0.001" if shown < 0.001 else f"p {shown:.3f}"
        if isinstance(self.difference, PairedDifferences):
            p = f"{_spread(self.difference, len(self.difference.differences), '{:+.1f}')}, {p}"
        return Shown(_signed(f"{100 * self.difference.value:+.1f}"), p)

    def fields(self) -> dict[str, Any]:
        found = self.difference
        corrected = {} if self.corrected is None else {"p_holm": self.corrected}
        if isinstance(found, PairedDifference):
            counts = {"only_first": found.only_first, "only_second": found.only_second, "n": found.n}
            low, high = map(percent, found.interval)
            return {"points": self.points, "low": low, "high": high, **counts, "p": self.p, **corrected}
        lowest, highest = map(percent, found.spread)
        return {
            "points": self.points,
            "lowest": lowest,
            "highest": highest,
            "seeds": len(found.differences),
            "n": found.differences[0].n,
            "p": self.p,
            **corrected,
        }


@dataclass(frozen=True)
class Same(Value):
    """The same value as at the left of it: the column has no part in it."""

    def shown(self) -> Shown:
        return Shown("″")

    def fields(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True)
class Missing(Value):
    """No value.

    :param why: Why there is none.
    """

    why: str

    def shown(self) -> Shown:
        return Shown("–")

    def fields(self) -> dict[str, Any]:
        return {"missing": self.why}


@dataclass(frozen=True)
class Column:
    """A column of a table.

    :param name: What stands above it.
    :param of_row: Whether it says more of the row, rather than having a result of it.
    """

    name: Name
    of_row: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a table.

    :param name: What it is called.
    :param values: One value for each column.
    :param more: What else is to be said of it where there is room, by name.
    """

    name: Name
    values: tuple[Value, ...]
    more: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Section:
    """Rows under a heading; "" is none."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """A table, whatever it is written as.

    :param kind: Which of a report's tables it is: the name of the function that made it.
    :param title: Its title.
    :param note: What has to be known to read it, whole sentences.
    :param legend: What the parts of its values are; an empty `main` is no legend.
    :param head: What stands above the names of the rows.
    :param columns: The columns.
    :param sections: The rows.
    :param mark: What marked values are; "" if none are marked.
    """

    kind: str
    title: str
    note: str
    legend: Shown
    head: Name
    columns: tuple[Column, ...]
    sections: tuple[Section, ...]
    mark: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise ValueError(
                    f"row {row.name.text!r} of table {self.title!r} has {len(row.values)} values for "
                    f"{len(self.columns)} columns"
                )

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows, in order."""
        return tuple(row for section in self.sections for row in section.rows)

    @property
    def values(self) -> Iterator[Value]:
        """All values."""
        return (value for row in self.rows for value in row.values)

    @property
    def has_same(self) -> bool:
        """Whether a value is the same as at the left of it."""
        return any(isinstance(value, Same) for value in self.values)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why values are missing, each reason once."""
        return tuple(dict.fromkeys(value.why for value in self.values if isinstance(value, Missing)))

    def reason(self, value: Missing) -> str:
        """Return the number of a missing value's reason, as it stands beside the dash; "" if there is only one."""
        reasons = self.reasons
        return "" if len(reasons) == 1 else str(reasons.index(value.why) + 1)


def percent(value: float) -> float:
    """Return a fraction in percent, as it stands in data."""
    return round(100 * value, 3)


def _spread(found: Shares | PairedDifferences, count: int, form: str) -> str:
    low, high = (_signed(form.format(100 * value)) for value in found.spread)
    return f"{low} to {high}" + (f", {count} of {found.asked} seeds" if count < found.asked else "")


def _signed(number: str) -> str:
    """Return a number with a minus sign rather than a hyphen; nothing has no sign."""
    return number.replace("-", "−") if number.strip("+-0.") else number.lstrip("+-")
