"""Data room: manifests, tables, splits, decoding, augmentation and the tf.data pipeline. Knows nothing of models.

The usual way through the room:

    manifest, table = open_data("sample")          # what images there are
    table = scan_table(manifest, table)            # every file read once, broken ones named
    table = split_table(table, seed=0)             # subject-wise where subjects are known
    dataset = make_pipeline(table[table.split == "train"], manifest=manifest, image_size=224, batch_size=32)
"""

from leukemia_tf._lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Manifest": "manifest",
        "load_manifest": "manifest",
        "list_manifests": "manifest",
        "open_data": "open",
        "scan_table": "scan",
        "split_table": "split",
        "assert_disjoint": "split",
        "split_hash": "split",
        "make_folds": "folds",
        "official_folds": "folds",
        "fold_names": "folds",
        "leave_one_source_out": "folds",
        "write_split": "split_file",
        "read_split": "split_file",
        "fold_order": "split_file",
        "apply_split": "split_file",
        "split_data": "splitting",
        "read_groups": "groups_file",
        "fetch_data": "fetch",
        "verify_data": "verify",
        "propose_manifest": "init_manifest",
        "read_image": "decode",
        "decode_image": "decode",
        "BrokenImage": "decode",
        "resize_images": "resize",
        "load_pixels": "pixels",
        "PixelReader": "pixel_reader",
        "PendingPixels": "pixel_reader",
        "make_pipeline": "pipeline",
        "steps_per_epoch": "pipeline",
        "class_weights": "balance",
        "get_policy": "augment",
        "cache_dir": "cache",
    },
)
