"""Models: the registry of builders, the catalogue of backbones, which layers train, and one file a system."""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "attention_grid": "attention_maps",
        "spatial_attention": "attention_maps",
        "BACKBONES": "backbones",
        "Backbone": "backbones",
        "build_backbones": "backbones",
        "get_backbone": "backbones",
        "last_map": "backbones",
        "cut_model": "cut",
        "network_fingerprint": "cut",
        "build_model": "registry",
        "describe_model": "registry",
        "list_models": "registry",
        "register_model": "registry",
        "backbones_of": "freeze",
        "describe_open": "freeze",
        "open_layers": "freeze",
        "load_model": "loading",
        "uncompiled": "loading",
    },
)
