"""With real ImageNet weights on real cells: the only proof that pixels reach a network the way it was trained."""

import io
import tarfile

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from leukemia_tf.models import BACKBONES

FILES = {
    "mobilenetv2": "mobilenetv2_1.0_224_imagenet_notop_fp16.npz",
    "resnet50": "resnet50_imagenet_notop_fp16.npz",
    "efficientnetb0": "efficientnetb0_timm_notop_fp16.npz",
}
SIZE = 160


@pytest.fixture(scope="module")
def cells(shared):
    """192 single cells of 8 classes, 24 of each: the middle 200 pixels, resized."""
    images, labels = [], []
    with tarfile.open(shared / "data" / "pbc_originals.tar") as archive:
        for member in archive:
            if member.isfile() and member.name.lower().endswith(".jpg"):
                with Image.open(io.BytesIO(archive.extractfile(member).read())) as image:
                    box = (image.width / 2 - 100, image.height / 2 - 100, image.width / 2 + 100, image.height / 2 + 100)
                    images.append(np.asarray(image.convert("RGB").resize((SIZE, SIZE), box=box), "float32"))
                labels.append(member.name.split("/")[-2])
    return np.stack(images), np.array(labels)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_features_separate_the_classes(name, cells, shared, tmp_path):
    """Nearest neighbours among the frozen features find the class far more often than chance, 1 in 8."""
    stored = np.load(shared / "weights" / FILES[name])
    backbone = BACKBONES[name]
    plain = backbone.constructor(weights=None, include_top=False, input_shape=(SIZE, SIZE, 3))
    plain.set_weights([stored[f"{i:04d}"].astype("float32") for i in range(len(stored["names"]))])
    plain.save_weights(tmp_path / f"{name}_notop.weights.h5")
    images, labels = cells

    def accuracy(model: keras.Model) -> float:
        features = model.predict(images, batch_size=32, verbose=0)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        return cross_val_score(KNeighborsClassifier(5), features, labels, cv=4).mean()

    assert len(labels) == 192 and len(set(labels)) == 8
    assert accuracy(backbone.build(SIZE, tmp_path)) > 0.6
