"""The catalogue of backbones: networks of ``keras.applications`` with what each of them needs to be used rightly."""

from __future__ import annotations

import dataclasses
import difflib
import logging
import os
from typing import TYPE_CHECKING, Callable, Sequence

from leukemia_tf.errors import InputError

if TYPE_CHECKING:
    import keras

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """One network of ``keras.applications`` without its classifier.

    Attributes:
        name: the key in `BACKBONES`, lower case.
        keras_name: the name of its constructor in ``keras.applications``.
        features: width of the pooled output.
        native_size: side in pixels of the images that its ImageNet weights were trained on, as Keras has them.
        preprocessing: what turns RGB in [0, 255] into its input: ``"none"`` (it is part of the network), ``"tf"``
            (to [-1, 1]), ``"caffe"`` (BGR, mean taken off) or ``"torch"`` (ImageNet mean and deviation).
        min_size: the smallest side that it accepts.
        taps: layers with a feature map, from fine to coarse: the last one before each halving of the resolution from
            a quarter of the input down (InceptionV3, whose earlier layers have no fixed names: from an eighth). A
            plus at the end stands for the sum that the layer's output goes into, which has no name (ConvNeXt).
    """

    name: str
    keras_name: str
    features: int
    native_size: int
    preprocessing: str
    min_size: int
    taps: tuple[str, ...]

    @property
    def constructor(self) -> Callable[..., "keras.Model"]:
        """The function in ``keras.applications``."""
        import keras

        return getattr(keras.applications, self.keras_name)

    def preprocessing_layer(self) -> "keras.layers.Layer | None":
        """A new layer from RGB in [0, 255] to the input of the network, or None where the network begins with it.

        It computes in float32 under mixed precision too: float16 has no room for 0..255 with fractions.
        """
        import keras

        from leukemia_tf.layers.caffe_preprocessing import CaffePreprocessing
        from leukemia_tf.models.weights import IMAGENET_MEAN, IMAGENET_STD

        options = {"name": "preprocessing", "dtype": "float32"}
        if self.preprocessing == "tf":
            return keras.layers.Rescaling(1 / 127.5, offset=-1.0, **options)
        if self.preprocessing == "torch":
            scale = [1 / (255 * std) for std in IMAGENET_STD]
            offset = [-mean / std for mean, std in zip(IMAGENET_MEAN, IMAGENET_STD)]
            return keras.layers.Rescaling(scale, offset=offset, **options)
        if self.preprocessing == "caffe":
            return CaffePreprocessing(**options)
        return None

    def check_size(self, image_size: int) -> None:
        """Raise `InputError` if the network cannot take images of this side."""
        if isinstance(image_size, bool) or not hasattr(image_size, "__index__"):
            raise InputError(f"`image_size` must be a whole number of pixels. Received: {image_size!r}")
        if image_size < self.min_size:
            raise InputError(
                f"`image_size` must be at least {self.min_size} for the backbone `{self.name}`. Received: {image_size}"
            )

    def tap_outputs(self, model: "keras.Model") -> list["keras.KerasTensor"]:
        """The feature maps of ``taps`` in a model that `build` made (or in its copy inside a loaded model)."""
        maps = []
        for tap in self.taps:
            output = model.get_layer(tap.rstrip("+")).output
            if tap.endswith("+"):
                users = [step for step in model.operations if isinstance(step.input, list)]
                output = next(step.output for step in users if any(tensor is output for tensor in step.input))
            maps.append(output)
        return maps

    def build(
        self,
        image_size: int,
        weights: str | os.PathLike | None = "imagenet",
        *,
        name: str | None = None,
        preprocess: bool = True,
        pooling: str | None = "avg",
    ) -> "keras.Model":
        """Build the network as one flat model, ready to be nested.

        Args:
            image_size: side S of the square input in pixels, at least ``min_size``.
            weights: see `leukemia_tf.models.weights.load_weights`. Without weights the network is random; call
                ``keras.utils.set_random_seed`` before for the same numbers each time.
            name: of the model; give one if an architecture is used twice. Layer names stay those of Keras.
            preprocess: begin with the preprocessing. ``False`` feeds the pixels as they come.
            pooling: ``"avg"``, ``"max"`` or ``None`` (the map itself).

        Returns:
            A model from RGB (B, S, S, 3) in [0, 255] to (B, features), or (B, h, w, features) without pooling.

        Raises:
            InputError: for a size below ``min_size``, an unknown ``pooling``, or weights that cannot be had.
        """
        import keras

        from leukemia_tf.models.weights import load_weights

        self.check_size(image_size)
        if pooling not in ("avg", "max", None):
            raise InputError(f'`pooling` must be "avg", "max" or None. Received: {pooling!r}')
        inputs = keras.Input((int(image_size), int(image_size), 3), name="image")
        layer = self.preprocessing_layer() if preprocess else None
        images = layer(inputs) if layer else inputs
        network = self.constructor(weights=None, include_top=False, input_tensor=images, pooling=pooling)
        # Its own name would go into its layers' names (ConvNeXt), so it is given to a model of the same layers.
        model = keras.Model(inputs, network.output, name=name or self.name)
        load_weights(model, self, weights)
        return model


# fmt: off
BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            "efficientnetb0", "EfficientNetB0", 1280, 224, "none", 32,
            ("block2b_add", "block3b_add", "block5c_add", "block7a_project_bn"),
        ),
        Backbone(
            "efficientnetb3", "EfficientNetB3", 1536, 300, "none", 32,
            ("block2c_add", "block3c_add", "block5e_add", "block7b_add"),
        ),
        Backbone(
            "efficientnetv2b3", "EfficientNetV2B3", 1536, 300, "none", 32,
            ("block2c_add", "block3c_add", "block5g_add", "block6l_add"),
        ),
        Backbone(
            "resnet50", "ResNet50", 2048, 224, "caffe", 32,
            ("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
        ),
        Backbone(
            "resnet152v2", "ResNet152V2", 2048, 224, "tf", 32,
            ("conv2_block2_out", "conv3_block7_out", "conv4_block35_out", "post_relu"),
        ),
        Backbone(
            "convnexttiny", "ConvNeXtTiny", 768, 224, "none", 32,
            (
                "convnext_tiny_stage_0_block_2_identity+", "convnext_tiny_stage_1_block_2_identity+",
                "convnext_tiny_stage_2_block_8_identity+", "convnext_tiny_stage_3_block_2_identity+",
            ),
        ),
        Backbone("inceptionv3", "InceptionV3", 2048, 299, "tf", 75, ("mixed2", "mixed7", "mixed10")),
        Backbone(
            "xception", "Xception", 2048, 299, "tf", 71,
            ("block3_sepconv2_bn", "block4_sepconv2_bn", "block13_sepconv2_bn", "block14_sepconv2_act"),
        ),
        Backbone(
            "vgg16", "VGG16", 512, 224, "caffe", 32,
            ("block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"),
        ),
        Backbone(
            "vgg19", "VGG19", 512, 224, "caffe", 32,
            ("block3_conv4", "block4_conv4", "block5_conv4", "block5_pool"),
        ),
        Backbone(
            "densenet121", "DenseNet121", 1024, 224, "torch", 32,
            ("conv2_block6_concat", "conv3_block12_concat", "conv4_block24_concat", "relu"),
        ),
        Backbone(
            "mobilenetv2", "MobileNetV2", 1280, 224, "tf", 32,
            ("block_2_add", "block_5_add", "block_12_add", "out_relu"),
        ),
    )
}
# fmt: on


def get_backbone(name: str) -> Backbone:
    """The catalogue entry of a name.

    Raises:
        InputError: if there is none.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    close = difflib.get_close_matches(str(name).lower(), BACKBONES, n=3, cutoff=0.5)
    hint = f" (did you mean {' or '.join(close)}?)" if close else ""
    raise InputError(f"`backbone` must be one of {', '.join(BACKBONES)}{hint}. Received: {name!r}")


def last_map(model: "keras.Model") -> "keras.KerasTensor":
    """The feature map (B, h, w, features) that a backbone's global pooling takes, or its output without pooling."""
    import keras

    kinds = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
    if len(model.output.shape) == 4:
        return model.output
    # Squeeze-and-excitation blocks pool as well, so it is the last one.
    return [layer for layer in model.layers if isinstance(layer, kinds)][-1].input


def build_backbones(
    names: Sequence[str],
    image_size: int,
    weights: str | os.PathLike | None = "imagenet",
    *,
    preprocess: bool = True,
    pooling: str | None = "avg",
    on_missing: str = "error",
) -> list["keras.Model"]:
    """Build several backbones with names of their own and at most one failed download.

    Args:
        names: keys of `BACKBONES`. A repeated one gets the model name ``resnet50_2`` and so on.
        image_size, weights, preprocess, pooling: as in `Backbone.build`. A weights file fits one architecture, so
            different ones need a folder.
        on_missing: what to do when ImageNet weights cannot be downloaded: ``"error"``, or ``"random"`` to warn in the
            log and go on with random weights for that backbone and the ones after it, without further attempts.

    Raises:
        InputError: for unknown names or values, weights that do not fit, and with "error" for a failed download.
    """
    from leukemia_tf.models.weights import DownloadFailed, check_weights

    backbones = [get_backbone(name) for name in names]
    for backbone in backbones:
        backbone.check_size(image_size)
    if on_missing not in ("error", "random"):
        raise InputError(f'`on_missing_weights` must be "error" or "random". Received: {on_missing!r}')
    weights = check_weights(weights)
    if weights not in (None, "imagenet") and os.path.isfile(weights) and len(set(names)) > 1:
        raise InputError(
            "`weights`: one file holds one network; for "
            f"{' and '.join(dict.fromkeys(names))} give a folder of `<backbone>_notop.weights.h5`. "
            f"Received: `{weights}`"
        )
    models: list["keras.Model"] = []
    for position, backbone in enumerate(backbones):
        repeat = list(names[:position]).count(backbone.name) + 1
        name = backbone.name if repeat == 1 else f"{backbone.name}_{repeat}"
        options = {"name": name, "preprocess": preprocess, "pooling": pooling}
        try:
            model = backbone.build(image_size, weights, **options)
        except DownloadFailed as error:
            if on_missing == "error":
                raise
            log.warning(
                "RANDOM WEIGHTS for %s, so expect a poor result: %s",
                ", ".join(b.name for b in backbones[position:]),
                error,
            )
            weights = None
            model = backbone.build(image_size, None, **options)
        models.append(model)
    return models
