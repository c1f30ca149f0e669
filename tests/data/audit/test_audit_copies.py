"""The search for copies: invariances, geometry and index by hand or by scikit-learn, and planted copies."""

import cv2
import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from leukemia_tf.data.audit import descriptors as d
from leukemia_tf.data.audit.copies import find_copies
from leukemia_tf.data.audit.index import CellIndex
from leukemia_tf.data.audit.reading import make_thumbnail
from leukemia_tf.data.audit.register import (
    Registration,
    correlate_rings,
    describe_match,
    initial_matrices,
    scale_matrices,
)


from tests.data.audit.audit_pictures import crop, draw, rotate

CELLS = [draw(number) for number in range(60)]
COPIES = {
    "flipped left to right": lambda a: a[:, ::-1],
    "flipped top to bottom": lambda a: a[::-1],
    "turned by 90 degrees": lambda a: np.rot90(a, -1),
    "turned by 180 degrees": lambda a: np.rot90(a, 2),
    "turned by 270 degrees": lambda a: np.rot90(a),
    "transposed": lambda a: a.transpose(1, 0, 2),
    "rotated by 10 degrees": lambda a: rotate(a, 10),
    "cropped to 90 %": lambda a: crop(a, 0.9),
    "cropped to 80 %": lambda a: crop(a, 0.8, 0.2, 0.7),
    "other brightness or contrast": lambda a: cv2.convertScaleAbs(a, alpha=0.75),
    "the same picture, encoded again or resized": lambda a: cv2.imdecode(
        cv2.imencode(".jpg", a, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR
    ),
}


def thumbnails(images):
    return np.stack([make_thumbnail(np.ascontiguousarray(image)) for image in images])


@pytest.fixture(scope="module")
def found():
    copies = [change(CELLS[number]) for number, change in enumerate(COPIES.values())]
    return find_copies(thumbnails([*CELLS, *copies]), progress=False)


def test_every_planted_copy_is_found_and_nothing_else(found):
    pairs = {tuple(sorted(pair)) for pair in zip(found["first"], found["second"])}
    assert pairs == {(number, len(CELLS) + number) for number in range(len(COPIES))}
    assert found["score"].between(0.9, 1.0001).all()


@pytest.mark.parametrize("number, words", list(enumerate(COPIES)))
def test_the_transformation_in_words(found, number, words):
    row = found[(found[["first", "second"]].min(axis=1) == number)].iloc[0]
    told = row["transformation"]
    # A turn, seen from the other end, is the opposite turn; a crop has its original as the larger one.
    opposite = {"turned by 90 degrees": "turned by 270 degrees", "turned by 270 degrees": "turned by 90 degrees"}
    if row["first"] != number:
        words = opposite.get(words, words).replace("cropped to", "the first is a crop to")
    assert told.startswith(words) or words in told


def test_an_overexposed_copy_is_found_either_way_round():
    pictures = thumbnails(CELLS[:30])
    start = np.float32([[1, 0, 0.6], [0, 1, -0.4]])
    for gain, white in ((1.35, 0.5), (1.6, 0.7)):
        bright = np.stack([cv2.convertScaleAbs(picture, alpha=gain) for picture in pictures[:12]])
        assert (bright == 255).mean() > white - 0.05
        registration = Registration(np.concatenate([pictures, bright]))
        for row in range(12):
            for pair in ((row, 30 + row), (30 + row, row)):
                assert registration.refine(*pair, start).is_copy
            match = registration.refine(row + 1, 30 + row, start)
            assert match is None or not match.is_copy


def test_no_copies_among_few_images_and_blank_ones():
    assert len(find_copies(thumbnails(CELLS[:1]), progress=False)) == 0
    assert len(find_copies(np.empty((0, 64, 64), np.uint8), progress=False)) == 0
    blank = np.full((5, 64, 64), 200, np.uint8)
    assert len(find_copies(np.concatenate([thumbnails(CELLS[:6]), blank]), progress=False)) == 0
    two = find_copies(thumbnails([CELLS[0], CELLS[0][::-1]]), progress=False)
    assert list(zip(two["first"], two["second"])) in ([(0, 1)], [(1, 0)])


def test_the_same_seed_gives_the_same_pairs():
    images = thumbnails([*CELLS[:20], *[cell[::-1] for cell in CELLS[:5]]])
    one, two = (find_copies(images, progress=False, seed=3) for _ in range(2))
    assert one.equals(two) and len(one) == 5


def test_centre_descriptor_does_not_change_with_turns_flips_and_brightness():
    image = cv2.GaussianBlur(np.random.default_rng(1).integers(60, 180, (64, 64), dtype=np.uint8), (0, 0), 2.5)
    # Around the exact middle of an odd grid all turns are exact.
    odd = np.zeros((d.WIDTH, d.WIDTH), np.uint8)
    odd[:-1, :-1] = cv2.resize(image, (d.WIDTH - 1, d.WIDTH - 1))
    middle = (d.WIDTH - 1) // 2
    grid = odd[: 2 * middle + 1, : 2 * middle + 1]
    point = np.full((1, 1), middle * d.WIDTH + middle)

    def describe(square):
        padded = np.zeros((1, d.WIDTH, d.WIDTH), np.uint8)
        padded[0, : len(square), : len(square)] = square
        return d.describe(padded.reshape(1, -1), point, d.ring_offsets(20))[0]

    base = describe(grid)
    for turned in (np.rot90(grid), np.rot90(grid, 2), grid[:, ::-1], grid.T):
        np.testing.assert_allclose(describe(turned), base, atol=2e-3)
    brighter = np.clip(np.rint(grid * 1.2), 0, 255)
    assert np.abs(describe(brighter) - base).max() < 0.12
    other = describe(np.roll(grid, 17, 0))
    assert np.linalg.norm(other - base) > 5 * np.linalg.norm(describe(brighter) - base)


def test_ring_correlation_finds_angle_and_mirroring():
    random = np.random.default_rng(2)
    rings = random.normal(size=(1, d.RINGS, d.ANGLES)).astype(np.float32)
    rings -= rings.mean()
    rings /= rings.std()
    for steps, mirrored in ((0, False), (5, False), (11, True), (31, True)):
        other = rings[:, :, ::-1].copy() if mirrored else rings
        # The first is the second, mirrored or not, turned by `steps`: reversal maps angle index k to -k - 1.
        first = np.roll(other, steps, axis=2)
        value, angle, found = correlate_rings(first, rings)
        expected = (steps - 1 if mirrored else steps) * 2 * np.pi / d.ANGLES
        assert value[0] == pytest.approx(1.0, abs=0.02) and bool(found[0]) == mirrored
        assert np.cos(angle[0] - expected) == pytest.approx(1.0, abs=1e-3)


def test_initial_matrix_maps_point_to_point():
    first, second = np.array([[30.0, 20.0]]), np.array([[40.0, 35.0]])
    for angle, mirrored in ((0.3, False), (2.0, True)):
        matrix = initial_matrices(first, second, np.array([0.8]), np.array([angle]), np.array([mirrored]))[0]
        np.testing.assert_allclose(matrix @ [40, 35, 1], [30, 20], atol=1e-4)
        step = np.array([np.cos(angle), np.sin(angle)]) * 0.8
        np.testing.assert_allclose(matrix @ [41, 35, 1], [30, 20] + step, atol=1e-4)
        assert np.linalg.det(matrix[:, :2]) == pytest.approx(-0.64 if mirrored else 0.64, abs=1e-4)


def test_scaled_matrix_is_the_same_map_on_smaller_pictures():
    matrix = np.array([[0.9, -0.2, 5.0], [0.1, 1.1, -3.0]])
    for x, y in ((0.0, 0.0), (10.0, 30.0)):
        # Pixel k of the half picture covers 2k and 2k + 1, so its centre is 2k + 0.5.
        full = matrix @ [2 * x + 0.5, 2 * y + 0.5, 1]
        np.testing.assert_allclose(scale_matrices(matrix, 0.5) @ [x, y, 1], (full - 0.5) / 2, atol=1e-9)
    np.testing.assert_allclose(scale_matrices(scale_matrices(matrix, 0.5), 2.0), matrix, atol=1e-9)


def test_registration_finds_a_known_transformation():
    picture = make_thumbnail(draw(3, 128))
    truth = np.array([[0.85, -0.15, 7.0], [0.15, 0.85, 2.0]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(picture, truth, (64, 64), flags=flags, borderMode=cv2.BORDER_REFLECT)
    moved = cv2.convertScaleAbs(moved, alpha=0.8, beta=20)
    start = truth.astype(np.float32) + np.float32([[0.02, 0.02, -0.8], [-0.02, 0.02, 0.7]])
    match = Registration(np.stack([picture, moved])).refine(0, 1, start)
    corners = np.array([[10, 10, 1], [50, 12, 1], [30, 55, 1]]).T
    assert np.abs(match.matrix @ corners - truth @ corners).max() < 0.3
    assert match.is_copy and match.gain == pytest.approx(0.8, abs=0.03) and match.offset == pytest.approx(20, abs=4)
    assert describe_match(match).startswith("rotated by 10 degrees, cropped to 86 %")
    assert Registration(np.stack([picture, make_thumbnail(draw(4, 128))])).refine(0, 1, start) is None


def test_index_finds_what_brute_force_finds():
    random = np.random.default_rng(4)
    vectors = random.normal(size=(3000, 6)).astype(np.float32)
    owners = np.repeat(np.arange(1000), 3)
    index = CellIndex(vectors, owners)
    assert len(index.centres) == 54
    rows, hits, distance = index.search(vectors, owners, radius=0.3, probes=54, per_cell=3000)
    brute = NearestNeighbors(radius=np.sqrt(0.3)).fit(vectors).radius_neighbors(vectors, return_distance=False)
    expected = {(row, int(hit)) for row, near in enumerate(brute) for hit in near if owners[row] != owners[hit]}
    assert set(zip(rows.tolist(), hits.tolist())) == expected and len(expected) > 100
    np.testing.assert_allclose(distance, ((vectors[rows] - vectors[hits]) ** 2).sum(1), atol=1e-4)
    few = set(zip(*[part.tolist() for part in index.search(vectors, owners, radius=0.3)[:2]]))
    assert few <= expected and len(few) > 0.9 * len(expected)
