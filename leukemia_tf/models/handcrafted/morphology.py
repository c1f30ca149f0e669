"""19 features of the cell's shape and colour: six of size and form, Hu's seven moments, mean RGB and HSV.

The list is that of the notebook of system 001-A (github.com/DouglasBragaMestrado/leukemia_cnn, main.ipynb). Corrected:
its eccentricity divided the long axis by the short one, the root of a negative number, so it was not a number for
every cell and became 0; its area and perimeter were in pixels; for the region itself see
`leukemia_tf.models.handcrafted.mask`.
"""

from __future__ import annotations

import cv2
import numpy as np

from leukemia_tf.models.handcrafted.mask import cell_contour

MORPHOLOGY_NAMES = (
    "cell_area", "cell_perimeter", "cell_aspect_ratio", "cell_extent", "cell_solidity", "cell_eccentricity",
    *(f"cell_hu_{number}" for number in range(1, 8)),
    *(f"cell_mean_{channel}" for channel in ("red", "green", "blue", "hue", "saturation", "value")),
)  # fmt: skip


def morphology_features(image: np.ndarray) -> np.ndarray:
    """Shape of the cell's outline, and the colour inside.

    Area as a share of the image, perimeter in image sides, width / height of the upright bounding box, area / box,
    area / convex hull, eccentricity of the ellipse with the same second moments (0 circle, to 1), Hu's moments as
    sign(h) log10(1 + 1e10 |h|) (they span ten orders of magnitude), mean grey levels inside (hue: 0 to 179).

    Args:
        image: uint8 (S, S, 3), RGB.

    Returns:
        float32 (19,), in the order of `MORPHOLOGY_NAMES`; all 0 where no cell is found.
    """
    contour = cell_contour(image)
    if contour is None:
        return np.zeros(len(MORPHOLOGY_NAMES), np.float32)
    side = float(np.sqrt(image.shape[0] * image.shape[1]))
    area = cv2.contourArea(contour)
    _, _, width, height = cv2.boundingRect(contour)
    moments = cv2.moments(contour)
    hu = cv2.HuMoments(moments).ravel()
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.drawContours(inside, [contour], -1, 1, cv2.FILLED)
    means = [cv2.mean(source, mask=inside)[:3] for source in (image, cv2.cvtColor(image, cv2.COLOR_RGB2HSV))]
    features = [
        area / side**2,
        cv2.arcLength(contour, True) / side,
        width / height,
        area / (width * height),
        area / cv2.contourArea(cv2.convexHull(contour)),
        _eccentricity(moments),
        *(np.sign(hu) * np.log10(1 + 1e10 * np.abs(hu))),
        *np.ravel(means),
    ]
    return np.array(features, np.float32)


def _eccentricity(moments: dict[str, float]) -> float:
    spread = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / moments["m00"]
    short, long = np.linalg.eigvalsh(spread)
    return float(np.sqrt(np.clip(1 - short / long, 0, 1))) if long > 0 else 0.0
