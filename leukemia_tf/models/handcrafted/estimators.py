"""The classifiers by name, with the settings of the notebook of system 001-A."""

from __future__ import annotations

import warnings
from typing import Callable

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

_NEIGHBOURS = 5


def _naive_bayes(images: int, seed: int) -> ClassifierMixin:
    return GaussianNB()


def _knn(images: int, seed: int) -> ClassifierMixin:
    # In hundreds of dimensions a tree is no faster, and its nodes would be one more type to trust in a file.
    return KNeighborsClassifier(min(_NEIGHBOURS, images), weights="distance", algorithm="brute")


def _random_forest(images: int, seed: int) -> ClassifierMixin:
    return RandomForestClassifier(100, random_state=seed, n_jobs=-1)


def _logistic(images: int, seed: int) -> ClassifierMixin:
    return LogisticRegression(max_iter=5000, random_state=seed)


def _gradient_boosting(images: int, seed: int) -> ClassifierMixin:
    return HistGradientBoostingClassifier(
        learning_rate=0.1, max_iter=100, max_depth=5, early_stopping=False, random_state=seed
    )


def _mlp(images: int, seed: int) -> ClassifierMixin:
    return MLPClassifier(
        (512, 256), alpha=1e-5, batch_size=min(16, images), learning_rate_init=3e-5, max_iter=50, random_state=seed
    )


def _vote(images: int, seed: int) -> ClassifierMixin:
    members = ("naive_bayes", "knn", "random_forest", "logistic")
    return VotingClassifier([(name, CLASSIFIERS[name](images, seed)) for name in members], voting="soft")


CLASSIFIERS: dict[str, Callable[[int, int], ClassifierMixin]] = {
    "vote": _vote,
    "random_forest": _random_forest,
    "logistic": _logistic,
    "knn": _knn,
    "naive_bayes": _naive_bayes,
    "gradient_boosting": _gradient_boosting,
    "mlp": _mlp,
}


def make_estimator(name: str, images: int, seed: int) -> ClassifierMixin:
    """A new classifier: a key of `CLASSIFIERS`, for a number of training images."""
    return CLASSIFIERS[name](images, seed)


def fit_pipeline(pipeline: Pipeline, features: np.ndarray, labels: np.ndarray) -> None:
    """Fit in place.

    The classifier gets one thread of BLAS and OpenMP (a forest has its own): its matrices are small, and on processors
    that others use as well, threads that wait for each other took ten times as long. Scikit-learn's word on the 50
    epochs of the MLP is left out; they end when they end, as published.
    """
    reduced = pipeline[:-1].fit_transform(features)
    with warnings.catch_warnings(), threadpool_limits(limits=1):
        if isinstance(pipeline[-1], MLPClassifier):
            warnings.filterwarnings("ignore", category=ConvergenceWarning)
        pipeline[-1].fit(reduced, labels)


def predict_pipeline(pipeline: Pipeline, features: np.ndarray) -> np.ndarray:
    """Probabilities float32 (N, C) of a fitted pipeline, on one thread for the same reason."""
    with threadpool_limits(limits=1):
        return pipeline.predict_proba(features).astype(np.float32)
