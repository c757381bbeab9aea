"""Materials: colours against the CIE formulas, patterns against their own picture at another size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from onnxvis.models.textures import _patterns, lab_to_rgb, material, random_colour


def test_lab_to_rgb_follows_the_cie_formulas() -> None:
    lab = np.array([[0, 0, 0], [100, 0, 0], [50, 0, 0], [60, 30, -40], [35, -20, 25], [75, 10, 60]], np.float32)
    fy = (lab[:, 0] + 16) / 116
    f = np.stack([fy + lab[:, 1] / 500, fy, fy - lab[:, 2] / 200], axis=1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.95047, 1, 1.08883)
    to_rgb = [[3.2404542, -1.5371385, -0.4985314], [-0.969266, 1.8760108, 0.041556], [0.0556434, -0.2040259, 1.0572252]]
    linear = np.clip(xyz @ np.array(to_rgb).T, 0, 1)
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    np.testing.assert_allclose(lab_to_rgb(lab), expected, atol=1.5)


@pytest.mark.parametrize("name", sorted(_patterns))
def test_a_pattern_is_the_same_picture_at_any_size(name: str) -> None:
    large, small = (_patterns[name](np.random.default_rng(3), size) for size in (448, 112))
    assert small.dtype == np.float32
    assert small.min() > -0.3
    assert small.max() < 1.3
    assert small.std() > 0.03
    reduced = cv2.resize(large, (112, 112), interpolation=cv2.INTER_AREA)
    assert np.corrcoef(reduced.ravel(), small.ravel())[0, 1] > 0.97


def test_a_material_stays_about_its_colour() -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        colour = random_colour(rng, chroma=(0, 30), lightness=(40, 70))
        assert 40 <= colour[0] <= 70
        assert np.hypot(colour[1], colour[2]) <= 30
        surface = material(rng, colour, 20.0, 64)
        lab = cv2.cvtColor(surface / np.float32(255), cv2.COLOR_RGB2Lab).reshape(-1, 3)
        # The palette reaches 10 to either side; half a grey level of rounding adds a little.
        assert np.linalg.norm(lab - colour, axis=1).max() < 11.5
