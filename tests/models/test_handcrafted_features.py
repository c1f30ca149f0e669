"""Each family against the same numbers computed another way: loops, SciPy, analytic shapes."""

import colorsys
import math

import cv2
import numpy as np
import pytest
import scipy.fft
import scipy.ndimage
import scipy.signal
import scipy.stats

from leukemia_tf.errors import InputError
from leukemia_tf.models.handcrafted import FAMILIES, extract_features, extract_many, feature_names
from leukemia_tf.models.handcrafted.color import COLOR_NAMES, color_features
from leukemia_tf.models.handcrafted.contour import contour_features, fourier_descriptors
from leukemia_tf.models.handcrafted.dct import DCT_NAMES, dct_features
from leukemia_tf.models.handcrafted.gabor import GABOR_NAMES, gabor_features
from leukemia_tf.models.handcrafted.glcm import GLCM_NAMES, glcm_features
from leukemia_tf.models.handcrafted.lbp import LBP_NAMES, lbp_features, local_binary_patterns
from leukemia_tf.models.handcrafted.mask import cell_contour
from leukemia_tf.models.handcrafted.morphology import MORPHOLOGY_NAMES, morphology_features

PUBLISHED = {"color": 66, "glcm": 75, "morphology": 19, "contour": 160, "dct": 1024, "gabor": 36, "lbp": 54}


def noise(size=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


def grey(array):
    """An RGB image of these levels."""
    return np.repeat(np.asarray(array, np.uint8)[..., None], 3, axis=-1)


def drawn(size=96, centre=(50, 44), axes=(30, 16), angle=25, cell=(90, 40, 120), background=(235, 220, 225)):
    """A cell: a filled ellipse."""
    image = np.full((size, size, 3), background, np.uint8)
    return cv2.ellipse(image, centre, axes, angle, 0, 360, cell, cv2.FILLED)


def named(names, features):
    return dict(zip(names, features, strict=True))


# --- all families ----------------------------------------------------------------------------------------------------


def test_numbers_of_features_are_the_published_ones():
    assert {name: len(family.names) for name, family in FAMILIES.items()} == PUBLISHED
    assert len(feature_names()) == len(set(feature_names())) == 1434
    assert feature_names(["lbp", "color"]) == [*LBP_NAMES, *COLOR_NAMES]


IMAGES = {
    "black": np.zeros((32, 32, 3), np.uint8),
    "white": np.full((32, 32, 3), 255, np.uint8),
    "one colour": np.full((32, 32, 3), (180, 90, 200), np.uint8),
    "one pixel": np.pad(np.full((1, 1, 3), 255, np.uint8), ((9, 22), (20, 11), (0, 0))),
    "two halves": grey(np.repeat([[0] * 16 + [255] * 16], 32, axis=0)),
    "line": grey(np.eye(32) * 200),
    "noise": noise(32),
    "smallest": noise(16),
    "not square": noise(40)[:, :24],
    "cell": drawn(),
}


@pytest.mark.parametrize("name", IMAGES)
def test_always_finite(name):
    features = extract_features(IMAGES[name])
    assert features.shape == (1434,) and features.dtype == np.float32 and np.isfinite(features).all()


def test_an_even_image_has_no_texture_and_no_cell():
    features = named(feature_names(), extract_features(IMAGES["one colour"]))
    zero = [name for name in features if name.startswith(("cell_", "contour_", "gradient", "gabor_"))]
    zero += [name for name in features if name.split("_")[1] in ("contrast", "dissimilarity", "correlation")]
    zero += ["grey_variance", *(name for name in DCT_NAMES if name != "dct_0_0")]
    np.testing.assert_allclose([features[name] for name in zero], 0, atol=1e-4)
    assert features["dct_0_0"] == pytest.approx(math.log10(2)) and features["lbp_1px_8_of_8"] == 1
    assert features["glcm_energy_3px_45"] == features["glcm_homogeneity_5px_0"] == 1


def test_many_images_in_order():
    pixels = np.stack([noise(24, seed) for seed in range(5)])
    found = extract_many(pixels, ["lbp", "contour"], progress=False)
    assert found.dtype == np.float32 and found.shape == (5, 214)
    for row, image in zip(found, pixels):
        np.testing.assert_array_equal(row, np.concatenate([lbp_features(image), contour_features(image)]))
    assert extract_many(pixels[:0], progress=False).shape == (0, 1434)


@pytest.mark.parametrize(
    "image", [noise().astype(np.float32), noise()[..., 0], noise(15), "image.png", noise()[..., :2]]
)
def test_other_arrays_are_refused(image):
    with pytest.raises(InputError, match="`image` must be uint8 .S, S, 3.*Received"):
        extract_features(image)
    with pytest.raises(InputError, match="`pixels` must be uint8 .N, S, S, 3.*Received"):
        extract_many(image)


@pytest.mark.parametrize("families", [[], "lbp", ["lbp", "hog"], ["lbp", "lbp"]])
def test_unknown_families_are_refused(families):
    with pytest.raises(InputError, match="`families` must be .*morphology.*Received"):
        extract_features(noise(), families)


# --- color -----------------------------------------------------------------------------------------------------------


def test_color_statistics():
    image = noise(40) // 3 + np.arange(40, dtype=np.uint8)[:, None, None]
    features = named(COLOR_NAMES, color_features(image))
    for index, channel in enumerate(("red", "green", "blue")):
        values = image[..., index].ravel()
        quartiles = np.percentile(values, [50, 25, 75], method="inverted_cdf")
        shares = np.unique(values, return_counts=True)[1] / values.size
        expected = {
            "mean": values.mean(), "std": values.std(), "skewness": scipy.stats.skew(values),
            "kurtosis": scipy.stats.kurtosis(values), "min": values.min(), "max": values.max(),
            "median": quartiles[0], "quartile_1": quartiles[1], "quartile_3": quartiles[2],
            "energy": np.sum(shares**2), "entropy": scipy.stats.entropy(shares, base=2),
        }  # fmt: skip
        for statistic, value in expected.items():
            assert features[f"color_{channel}_{statistic}"] == pytest.approx(value, rel=1e-4, abs=1e-5), statistic


def test_color_quartiles_on_exact_shares():
    image = grey(np.repeat([10, 20, 30, 40], 64).reshape(16, 16))
    features = named(COLOR_NAMES, color_features(image))
    found = [features[f"color_red_{name}"] for name in ("quartile_1", "median", "quartile_3", "entropy", "energy")]
    assert found == pytest.approx([10, 20, 30, 2, 0.25])


def test_color_hsv():
    rgb = (120, 40, 160)
    features = named(COLOR_NAMES, color_features(np.full((16, 16, 3), rgb, np.uint8)))
    hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in rgb))
    found = [features[f"color_{channel}_mean"] for channel in ("hue", "saturation", "value")]
    assert found == pytest.approx([hue * 180, saturation * 255, value * 255], abs=0.51)


# --- glcm ------------------------------------------------------------------------------------------------------------


def test_glcm_by_loops():
    levels = np.random.default_rng(0).integers(0, 4, (8, 8)) * 60
    features = named(GLCM_NAMES, glcm_features(grey(levels)))
    offsets = {
        (1, 0): (0, 1), (1, 45): (1, 1), (1, 90): (1, 0), (1, 135): (1, -1),
        (3, 0): (0, 3), (3, 45): (2, 2), (3, 90): (3, 0), (3, 135): (2, -2),
        (5, 0): (0, 5), (5, 45): (4, 4), (5, 90): (5, 0), (5, 135): (4, -4),
    }  # fmt: skip
    for (distance, angle), (down, right) in offsets.items():
        matrix = np.zeros((256, 256))
        for row in range(8):
            for column in range(8):
                if row + down < 8 and 0 <= column + right < 8:
                    one, other = levels[row, column], levels[row + down, column + right]
                    matrix[one, other] += 1
                    matrix[other, one] += 1
        matrix /= matrix.sum()
        rows, columns = np.indices(matrix.shape)
        mean = np.sum(rows * matrix)
        variance = np.sum((rows - mean) ** 2 * matrix)
        expected = {
            "contrast": np.sum((rows - columns) ** 2 * matrix),
            "dissimilarity": np.sum(abs(rows - columns) * matrix),
            "homogeneity": np.sum(matrix / (1 + (rows - columns) ** 2)),
            "energy": math.sqrt(np.sum(matrix**2)),
            "correlation": np.sum((rows - mean) * (columns - mean) * matrix) / variance,
            "second_moment": np.sum(matrix**2),
        }
        for name, value in expected.items():
            found = features[f"glcm_{name}_{distance}px_{angle}"]
            assert found == pytest.approx(value, rel=1e-4, abs=1e-5), (name, distance, angle)


def test_glcm_directions():
    features = named(GLCM_NAMES, glcm_features(grey(np.repeat(np.arange(24)[:, None] % 2 * 100, 24, axis=1))))
    assert features["glcm_contrast_1px_0"] == 0 and features["glcm_correlation_1px_0"] == pytest.approx(1)
    assert features["glcm_contrast_1px_90"] == 100**2 and features["glcm_correlation_3px_90"] == pytest.approx(-1)


def test_gradient_and_grey_energy():
    levels = noise(24)[..., 0]
    features = named(GLCM_NAMES, glcm_features(grey(levels)))
    wide = levels.astype(float)
    gradients = [scipy.ndimage.sobel(wide, axis, mode="mirror") / 8 for axis in (0, 1)]
    assert features["gradient_energy"] == pytest.approx(np.mean(gradients[0] ** 2 + gradients[1] ** 2), rel=1e-5)
    assert features["grey_variance"] == pytest.approx(wide.var(), rel=1e-5)
    assert features["grey_energy"] == pytest.approx(np.mean(wide**2), rel=1e-5)
    ramp = named(GLCM_NAMES, glcm_features(grey(np.repeat(np.arange(0, 150, 3)[None], 50, axis=0))))
    assert ramp["gradient_energy"] == pytest.approx(9 * 48 / 50)  # 3 levels a pixel, 0 in the two outer columns


# --- mask, morphology, contour ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell, background", [((90, 40, 120), (235, 220, 225)), ((150, 90, 160), (0, 0, 0))])
def test_cell_is_found_on_bright_and_on_black(cell, background):
    contour = cell_contour(drawn(cell=cell, background=background))
    assert cv2.contourArea(contour) == pytest.approx(math.pi * 30 * 16, rel=0.05)
    assert contour.mean(axis=0) == pytest.approx([50, 44], abs=1.5)


def test_shape_of_an_ellipse():
    features = named(MORPHOLOGY_NAMES, morphology_features(drawn(192, (96, 96), (60, 30), 0)))
    area = math.pi * 60 * 30
    assert features["cell_area"] == pytest.approx(area / 192**2, rel=0.02)
    ramanujan = math.pi * (3 * 90 - math.sqrt((3 * 60 + 30) * (60 + 3 * 30)))
    # A line along pixels takes corners, so it is some per cent longer than the curve.
    assert ramanujan / 192 <= features["cell_perimeter"] <= 1.1 * ramanujan / 192
    assert features["cell_aspect_ratio"] == pytest.approx(2, rel=0.03)
    assert features["cell_extent"] == pytest.approx(math.pi / 4, rel=0.03)
    assert 0.97 <= features["cell_solidity"] <= 1
    assert features["cell_eccentricity"] == pytest.approx(math.sqrt(1 - 0.25), rel=0.01)
    # Hu's first moment of an ellipse is (a / b + b / a) / (4 pi), its second (a / b - b / a)^2 / (4 pi)^2.
    hu = [math.log10(1 + 1e10 * value) for value in (2.5 / (4 * math.pi), (1.5 / (4 * math.pi)) ** 2)]
    assert [features["cell_hu_1"], features["cell_hu_2"]] == pytest.approx(hu, abs=0.02)


def test_colour_inside_the_cell():
    image = np.full((64, 64, 3), (250, 240, 245), np.uint8)
    image[16:48, 16:48] = (80, 30, 110)
    features = named(MORPHOLOGY_NAMES, morphology_features(image))
    assert [features[f"cell_mean_{name}"] for name in ("red", "green", "blue")] == pytest.approx([80, 30, 110])
    hue, saturation, value = colorsys.rgb_to_hsv(80 / 255, 30 / 255, 110 / 255)
    found = [features[f"cell_mean_{name}"] for name in ("hue", "saturation", "value")]
    assert found == pytest.approx([hue * 180, saturation * 255, value * 255], abs=0.6)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_shape_does_not_turn_with_the_image(turns):
    image = drawn()
    cv2.circle(image, (50, 25), 7, (90, 40, 120), cv2.FILLED)  # no symmetry
    turned = np.ascontiguousarray(np.rot90(image, turns))
    before, after = morphology_features(image), morphology_features(turned)
    before[2] = before[2] if turns == 2 else 1 / before[2]  # width / height
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(contour_features(turned), contour_features(image), atol=1e-5)


def blob(points=400):
    angle = np.arange(points) / points * 2 * np.pi
    radius = 40 + 6 * np.cos(2 * angle) + 3 * np.sin(3 * angle) + 2 * np.cos(5 * angle + 1)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def test_fourier_descriptors_do_not_depend_on_pose():
    expected = fourier_descriptors(blob())
    assert expected.max() > 0.01
    turn = np.deg2rad(33)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for other in (
        blob() @ rotation,
        blob() * 3.7,
        blob() + [250, 90],
        np.roll(blob(), 123, axis=0),
        blob()[::-1],
        blob() * [1, -1],
        np.roll(blob() @ rotation, 50, axis=0) * 0.5 + 20,
    ):
        np.testing.assert_allclose(fourier_descriptors(other), expected, atol=2e-5)


def test_fourier_descriptors_of_known_outlines():
    angle = np.arange(2000) / 2000 * 2 * np.pi
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    np.testing.assert_allclose(fourier_descriptors(circle), 0, atol=1e-5)
    # 1 + 0.02 cos 4t: a cosine has half its height in each of two coefficients. Steps along the curve are steps in t
    # but for terms of the second order.
    wavy = circle * (1 + 0.02 * np.cos(4 * angle))[:, None]
    found = fourier_descriptors(wavy)
    assert found[3] == pytest.approx(math.log10(1.01), rel=0.01)
    assert np.delete(found, 3).max() < 0.05 * found[3]


def test_corners_need_not_be_evenly_spaced():
    square = np.array([[0, 0], [30, 0], [30, 30], [0, 30]])
    dense = np.array([[x, 0] for x in range(30)] + [[30, 0], [30, 30], [0, 30]])
    np.testing.assert_allclose(fourier_descriptors(dense), fourier_descriptors(square), atol=1e-5)


# --- dct -------------------------------------------------------------------------------------------------------------


def test_dct():
    levels = noise(64)[..., 1]
    features = named(DCT_NAMES, dct_features(grey(levels)))
    spectrum = np.abs(scipy.fft.dctn(levels.astype(float), norm="ortho"))
    for name, value in features.items():
        row, column = map(int, name.split("_")[1:])
        assert value == pytest.approx(math.log10(1 + spectrum[row, column] / spectrum.max()), rel=1e-3, abs=1e-6)


def test_dct_takes_low_frequencies_in_zigzag():
    first = [tuple(map(int, name.split("_")[1:])) for name in DCT_NAMES[:10]]
    assert first == [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0)]
    sums = [sum(map(int, name.split("_")[1:])) for name in DCT_NAMES]
    assert sums == sorted(sums) and max(sums) == 44  # 45 * 44 / 2 = 990 < 1024 <= 46 * 45 / 2


def test_dct_means_the_same_at_any_size():
    x = np.arange(256) / 256
    wave = 120 + 80 * np.cos(np.pi * 3 * (x + 1 / 512))[None] * np.ones((256, 1))
    large, small = (
        dct_features(grey(cv2.resize(wave, (side, side), interpolation=cv2.INTER_AREA))) for side in (256, 128)
    )
    np.testing.assert_allclose(large, small, atol=2e-3)
    assert DCT_NAMES[np.argsort(large)[-2]] == "dct_0_3"


# --- gabor -----------------------------------------------------------------------------------------------------------


def test_gabor_by_convolution():
    levels = noise(40)[..., 0]
    features = named(GABOR_NAMES, gabor_features(grey(levels)))
    framed = np.pad(levels.astype(float), 12, mode="reflect")
    y, x = np.mgrid[-12:13, -12:13]
    envelope = np.exp(-(x**2 + y**2) / (2 * 4.0**2))
    for direction in (0, 45, 90, 135):
        for frequency in (0.1, 0.25, 0.4):
            phase = 2 * np.pi * frequency * (x * np.cos(np.deg2rad(direction)) + y * np.sin(np.deg2rad(direction)))
            even = envelope * np.cos(phase)
            even -= envelope * even.sum() / envelope.sum()
            parts = [even, envelope * np.sin(phase)]
            response = sum(abs(scipy.signal.convolve2d(framed, part / envelope.sum(), mode="valid")) for part in parts)
            found = [features[f"gabor_{name}_{direction}_{frequency}"] for name in ("mean", "std", "energy")]
            expected = [response.mean(), response.std(), np.mean(response**2)]
            assert found == pytest.approx(expected, rel=1e-3), (direction, frequency)


@pytest.mark.parametrize("direction", [0, 45, 90, 135])
@pytest.mark.parametrize("frequency", [0.1, 0.25, 0.4])
def test_gabor_finds_a_grating(direction, frequency):
    y, x = np.mgrid[:64, :64]
    along = x * np.cos(np.deg2rad(direction)) + y * np.sin(np.deg2rad(direction))
    features = named(GABOR_NAMES, gabor_features(grey(128 + 100 * np.cos(2 * np.pi * frequency * along))))
    means = {name: value for name, value in features.items() if "mean" in name}
    assert max(means, key=means.get) == f"gabor_mean_{direction}_{frequency}"


# --- lbp -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius, points", [(1, 8), (2, 16), (3, 24)])
def test_lbp_by_loops(radius, points):
    levels = np.random.default_rng(1).integers(0, 256, (11, 12))
    found = local_binary_patterns(levels.astype(np.uint8), radius, points)
    assert found.shape == (11 - 2 * radius, 12 - 2 * radius)
    for row in range(radius, 11 - radius):
        for column in range(radius, 12 - radius):
            bits = []
            for number in range(points):
                angle = 2 * math.pi * number / points
                at = [[row - radius * math.sin(angle)], [column + radius * math.cos(angle)]]
                neighbour = scipy.ndimage.map_coordinates(levels.astype(float), at, order=1)[0]
                bits.append(bool(neighbour >= levels[row, column] - 1e-6))
            changes = sum(bits[index] != bits[index - 1] for index in range(points))
            assert found[row - radius, column - radius] == (sum(bits) if changes <= 2 else points + 1)


def test_lbp_of_known_patterns():
    spot = np.zeros((7, 7), np.uint8)
    spot[3, 3] = 200
    codes = local_binary_patterns(spot, 1, 8)
    assert codes[2, 2] == 0 and codes[0, 0] == 8
    edge = np.zeros((7, 7), np.uint8)
    edge[:, 3:] = 100
    assert local_binary_patterns(edge, 1, 8)[2].tolist() == [8, 8, 5, 8, 8]


def test_lbp_histograms():
    image = noise(30, 3)
    features = lbp_features(image)
    start = 0
    for radius, points in ((1, 8), (2, 16), (3, 24)):
        codes = local_binary_patterns(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), radius, points)
        expected = np.histogram(codes, bins=np.arange(points + 3) - 0.5)[0] / codes.size
        np.testing.assert_allclose(features[start : start + points + 2], expected, atol=1e-6)
        start += points + 2
    assert start == 54
    np.testing.assert_allclose(lbp_features(np.ascontiguousarray(np.rot90(image))), features, atol=1e-6)
