"""Custom Keras layers, one public class a file, written with ``keras.ops`` and registered as ``leukemia_tf``."""

import importlib
import pkgutil

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "AttentionSummary": "attention_summary",
        "CaffePreprocessing": "caffe_preprocessing",
        "ConvBlockAttention": "conv_block_attention",
        "FilterTokenCrossAttention": "filter_token_cross_attention",
        "GreyWorld": "grey_world",
        "MapFusion": "map_fusion",
        "Reinhard": "reinhard",
        "SpatialSelfAttention": "spatial_self_attention",
        "SqueezeExcite": "squeeze_excite",
        "TapProjection": "tap_projection",
        "TokenSelfAttention": "token_self_attention",
    },
)


def register_layers() -> None:
    """Import every layer file, so that Keras knows the classes by name when it loads a saved model."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
