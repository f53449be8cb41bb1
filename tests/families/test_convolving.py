"""Convolutions as matrix products are the convolutions: values and gradients, wherever they are used and wherever not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from maquette.families.common import convolving
from maquette.families.common.convolving import FrozenConv2d, convolve_by_products
from tests.families.full import full_targets


def _both(channels: tuple[int, int], stride: int, bias: bool) -> tuple[nn.Conv2d, nn.Conv2d]:
    torch.manual_seed(1)
    plain = nn.Conv2d(*channels, 3, stride=stride, padding=1, bias=bias).requires_grad_(False)
    other = nn.Conv2d(*channels, 3, stride=stride, padding=1, bias=bias).requires_grad_(False)
    other.load_state_dict(plain.state_dict())
    other.__class__ = FrozenConv2d
    return plain, other


def _passed(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    out = module(x)
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    assert x.grad is not None
    return out.detach(), x.grad


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("stride", "bias", "size"), [(1, True, (2, 2)), (1, False, (5, 7)), (2, True, (8, 6))]
)
def test_values_and_gradients_are_the_convolution_s(
    count: int, stride: int, bias: bool, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums of 108 products in another order: equal to 1e-5 of numbers of order 1."""
    monkeypatch.setattr(convolving, "BYTES_A_POSITION", 1)
    used: list[bool] = []
    apply = convolving._ByColumns.apply
    monkeypatch.setattr(convolving._ByColumns, "apply", lambda *given: (used.append(True), apply(*given))[1])
    plain, other = _both((12, 9), stride, bias)
    x = torch.randn(count, 12, *size, generator=torch.Generator().manual_seed(2))
    for one, two in zip(_passed(plain, x), _passed(other, x), strict=True):
        assert one.shape == two.shape and two.is_contiguous()
        torch.testing.assert_close(two, one, rtol=1e-5, atol=1e-5)
    assert used


@pytest.mark.parametrize("case", ["large picture", "half", "trained weights", "three dimensions", "autocast"])
def test_elsewhere_it_is_the_convolution_itself(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolving, "BYTES_A_POSITION", 10)
    monkeypatch.setattr(convolving._ByColumns, "apply", lambda *given: pytest.fail("a matrix product"))
    plain, other = _both((4, 4), 1, True)
    x = torch.randn(1, 4, 17, 17) if case == "large picture" else torch.randn(1, 4, 4, 4)
    if case == "half":
        plain, other, x = plain.bfloat16(), other.bfloat16(), x.bfloat16()
    if case == "trained weights":
        other.weight.requires_grad_(True)
    if case == "three dimensions":
        x = x[0]
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        assert torch.equal(plain(x), other(x))


def test_only_large_plain_convolutions_change() -> None:
    with torch.device("meta"):
        modules = nn.ModuleList(
            [
                nn.Conv2d(1280, 1280, 3, padding=1),
                nn.Conv2d(64, 64, 3, padding=1),
                nn.Conv2d(4096, 4096, 1),
                nn.Conv2d(2560, 1280, 3, padding=1, padding_mode="reflect"),
                nn.Conv2d(2560, 2560, 3, padding=1, groups=2),
                nn.Conv2d(2560, 1280, 3, padding=2, dilation=2),
            ]
        )
    changed = [isinstance(each, FrozenConv2d) for each in convolve_by_products(modules)]
    assert changed == [True, False, False, False, False, False]


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_the_lowest_blocks_of_a_full_u_net_have_them(name: str) -> None:
    large = [each for each in full_targets(name) if isinstance(each.module, FrozenConv2d)]
    assert len(large) > 10 and not any(each.default for each in large)
