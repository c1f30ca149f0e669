"""Guessing from file names which images are of one subject; a guess, to be checked by someone who knows."""

from __future__ import annotations

import collections
import dataclasses
import re
from typing import Sequence

_WORDS = "patient|subject|pat|subj|person|donor|individual|case|pid"
_UNITS = "slide|smear|sample|specimen|scan"
# Rule, what it reads, and how sure such a name makes it: 2 says who, 1 says which piece of glass, 0 is a number.
_RULES = (
    (rf"(?i)(?:^|[/_\-. ])(?P<subject>(?:{_WORDS})[_\- ]?[0-9]+)(?![0-9])", "a word such as patient or case", 2),
    (rf"(?i)(?:^|[/_\-. ])(?P<subject>(?:{_UNITS})[_\- ]?[0-9]+)(?![0-9])", "a word such as slide or smear", 1),
    (r"(?:^|/)(?P<subject>[Pp][0-9]+)(?![0-9])[^/]*$", "a P with a number at the start", 1),
    (r"(?:^|/)(?P<subject>[A-Za-z]{0,4}[0-9]+)[_\-][^/]*$", "what stands before the first _ or -", 0),
    (r"(?:^|/)[A-Za-z]+[_\-](?P<subject>[A-Za-z]?[0-9]+)[_\-][^/]*$", "the number after the first word", 0),
    (r"(?:^|/)(?P<subject>[^/]*?)[_\- ]?\(?[0-9]+\)?\.[A-Za-z]+$", "what stands before the last number", 0),
)


@dataclasses.dataclass(frozen=True)
class SubjectGuess:
    """A rule that finds a subject in every path.

    Attributes:
        rule: regular expression with the group `subject`.
        reads: what it reads, in words.
        sureness: 2 the names say who, 1 they say which slide, 0 a number without a word.
        subjects: how many it finds.
        largest: images of the one with most.
        several_classes: subjects with images of more than one class.
        examples: the first ids.
    """

    rule: str
    reads: str
    sureness: int
    subjects: int
    largest: int
    several_classes: int
    examples: tuple[str, ...]


def guess_subjects(paths: Sequence[str], labels: Sequence[str], depth: int) -> list[SubjectGuess]:
    """Return the rules that divide the images into plausible subjects, the surest first.

    A plausible rule fits every path, finds three subjects or more of each class, and on average two images or more of
    a subject.

    Args:
        paths: of the images, relative.
        labels: their classes.
        depth: how many folders lie above the class folder; a folder between it and the image may be a subject's.
    """
    below = rf"^(?:[^/]+/){{{depth + 1}}}(?P<subject>[^/]+)/"
    guesses = []
    for rule, reads, sureness in ((below, "the folder below the class folder", 1), *_RULES):
        guess = _try(rule, reads, sureness, paths, labels)
        if guess is not None:
            guesses.append(guess)
    return sorted(guesses, key=lambda guess: -guess.sureness)


def _try(rule: str, reads: str, sureness: int, paths: Sequence[str], labels: Sequence[str]) -> SubjectGuess | None:
    found = []
    for path in paths:
        match = re.search(rule, path)
        if not match or not match["subject"]:
            return None
        found.append(match["subject"])
    counts = collections.Counter(found)
    classes = collections.defaultdict(set)
    for subject, label in zip(found, labels):
        classes[subject].add(label)
    subjects_of = collections.Counter(label for of_subject in classes.values() for label in of_subject)
    if min(subjects_of.values()) < 3 or 2 * len(counts) > len(paths):
        return None
    several = sum(len(of_subject) > 1 for of_subject in classes.values())
    return SubjectGuess(
        rule, reads, sureness, len(counts), max(counts.values()), several, tuple(sorted(counts)[:3])
    )  # fmt: skip
