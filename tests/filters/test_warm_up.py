"""The first call says that it compiles; after warming up no call does."""

from __future__ import annotations

import logging

import pytest
import torch

import art_denoise
from art_denoise.filters import _kept, _nl_means_kernels, _rof_chambolle_coupled_kernels, _rof_chambolle_kernels


def signatures() -> dict[str, int]:
    loops = {**vars(_nl_means_kernels), **vars(_rof_chambolle_kernels), **vars(_rof_chambolle_coupled_kernels)}
    return {name: len(loop.signatures) for name, loop in loops.items() if hasattr(loop, "signatures")}


def test_after_warming_up_nothing_is_compiled():
    art_denoise.warm_up()
    before = signatures()
    assert sum(before.values()) > 0
    for dtype in (torch.float32, torch.float64):
        x = torch.rand((2, 3, 17, 19), dtype=dtype, generator=torch.Generator().manual_seed(0), requires_grad=True)
        art_denoise.rof_denoise(x, 0.05).sum().backward()
        art_denoise.rof_denoise(x, 0.05, coupling="channels").sum().backward()
        art_denoise.nl_means_denoise(x, 0.05).sum().backward()
    assert signatures() == before


def test_that_something_is_compiled_is_said_once(caplog):
    _kept._say_that_it_compiles.cache_clear()
    with caplog.at_level(logging.WARNING, "art_denoise"):
        _kept._say_that_it_compiles()
        _kept._say_that_it_compiles()
    (record,) = caplog.records
    assert record.name == "art_denoise"
    assert "art_denoise.warm_up()" in record.getMessage()


@pytest.mark.parametrize("kept", [None, "code"])
def test_it_is_said_only_where_nothing_is_kept(monkeypatch, kept):
    said: list[bool] = []
    monkeypatch.setattr(_kept, "_say_that_it_compiles", lambda: said.append(True))
    monkeypatch.setattr(_kept.FunctionCache, "load_overload", lambda *_: kept)
    cache = object.__new__(_kept.KeptLoop)
    assert cache.load_overload(None, None) == kept
    assert said == ([True] if kept is None else [])
