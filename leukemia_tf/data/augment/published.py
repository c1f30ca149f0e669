"""The augmentation lists of the published systems, as lists of steps. The numbers are theirs.

Where a step of ours differs from the original's, the comment at the list says how.
"""

from __future__ import annotations

PUBLISHED: dict[str, list[dict]] = {
    # DouglasBragaMestrado/leukemia_cnn, main.ipynb, torchvision, during training: horizontal and vertical flip (.7
    # each), RandomRotation(45), ColorJitter(.3, .3, .3, .1), RandomAffine(15, translate .1, scale .9 to 1.1),
    # GaussianBlur(3, sigma .1 to 2) and RandomAutocontrast, both .3. Corners are black, as C-NMC's background is.
    # Ours: colours change after both warps, which become one; bilinear where torchvision rotates by nearest pixel;
    # the inverse scale is drawn from .9 to 1.1.
    "published_001a": [
        {"step": "warp", "flip_horizontal": 0.7, "flip_vertical": 0.7, "rotation": 45.0, "fill": "constant"},
        {"step": "warp", "rotation": 15.0, "translation": 0.1, "zoom": 0.1, "fill": "constant"},
        {"step": "color_jitter", "brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1},
        {"step": "blur", "kernel": 3, "sigma": [0.1, 2.0], "probability": 0.3},
        {"step": "auto_contrast", "probability": 0.3},
    ],
    # The same repository, pre_processamento_2.ipynb: written to disk once, for training, validation and test alike,
    # from images of 450 pixels; here drawn anew each epoch. random.sample out of twelve. "Salt and pepper 2 %" counts
    # the values of three channels and changes whole pixels, so 3 % become white and then 3 % black. The kernel of
    # 5 x 5 has OpenCV's standard deviation for that size, 1.1, at 450 pixels; on smaller images it blurs more.
    # Ours: brightness clips each channel, where theirs clips V of HSV; elastic draws alpha and sigma uniformly, not
    # as whole numbers.
    "published_001a_offline": [
        {
            "step": "some_of",
            "least": 3,
            "most": 5,
            "steps": [
                {"step": "symmetry", "element": 4},
                {"step": "symmetry", "element": 6},
                {"step": "symmetry", "element": 1},
                {"step": "symmetry", "element": 2},
                {"step": "symmetry", "element": 3},
                {"step": "blur", "kernel": 5, "sigma": [1.1, 1.1]},
                {"step": "salt_pepper", "fraction": 0.06},
                {"step": "shear", "factor": [0.1, 0.3], "fill": "nearest"},
                {"step": "color_jitter", "brightness": 0.2},
                {"step": "color", "contrast": 0.2},
                {"step": "crop", "share": [0.8, 0.95]},
                {"step": "elastic", "alpha": [40.0, 60.0], "sigma": [4.0, 6.0], "side": 450},
            ],
        }
    ],
    # DouglasBragaMestrado/tf_efficientnetv2_b3-C-NMC-2019, train_art.ipynb, torchvision: horizontal flip (.5),
    # RandomRotation(10), ColorJitter(brightness .1, contrast .1); black corners, bilinear where theirs is nearest.
    "published_001b": [
        {"step": "warp", "flip_horizontal": True, "rotation": 10.0, "fill": "constant"},
        {"step": "color_jitter", "brightness": 0.1, "contrast": 0.1},
    ],
    # The same repository, train_cnn.ipynb (VGG16, VGG19 and "Xception"): resized to 244 and cropped to 224,
    # horizontal flip (.5), vertical flip (.3), RandomRotation(15), ColorJitter(.2, .2, .2, .1), RandomAffine(0,
    # translate .1, scale .9 to 1.1), MixUp with alpha .2 in half of the batches. Ours: as for published_001a; MixUp
    # in every batch, with a weight for each image, where theirs has one for a batch.
    "published_001_baselines": [
        {"step": "crop", "share": [224 / 244, 224 / 244]},
        {"step": "warp", "flip_horizontal": True, "flip_vertical": 0.3, "rotation": 15.0, "fill": "constant"},
        {"step": "warp", "translation": 0.1, "zoom": 0.1, "fill": "constant"},
        {"step": "color_jitter", "brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
        {"step": "mix_up", "alpha": 0.2},
    ],
    # yaniv-11/Automated-Leukemia-Diagnosis, detection notebook, Keras: RandomFlip("horizontal"), RandomRotation(.15),
    # RandomZoom(.15), RandomContrast(.15): defined, and never applied. .15 of a turn is 54 degrees.
    "published_002": [
        {"step": "warp", "flip_horizontal": True, "rotation": 54.0, "zoom": 0.15},
        {"step": "color", "contrast": 0.15},
    ],
    # ranaislek/BloodMNIST-Prediction-DL, report: "flip" and rotation up to 90 degrees, tried and given up. Which flips
    # and what fills the corners is not said; both flips and mirrored borders are ours.
    "published_003": [{"step": "warp", "flip_horizontal": True, "flip_vertical": True, "rotation": 90.0}],
    # Jaffer74/Automated-Leukemia-Detection, Keras ImageDataGenerator, as every model of it was trained.
    "published_004": [{"step": "warp", "flip_horizontal": True}],
    # The same, as its paper describes it and one cell defines it; no model ever used it. Keras reads shear_range .15
    # as degrees, which moves a row by at most .0026 of its distance: nothing that an eye could see. Ours: one zoom
    # factor for both axes, where Keras draws two; the shear on both axes, where Keras has one.
    "published_004_described": [
        {
            "step": "warp",
            "flip_horizontal": True,
            "rotation": 20.0,
            "translation": 0.2,
            "shear": 0.0026,
            "zoom": 0.2,
            "fill": "nearest",
        }
    ],
}
