"""Faces: landmarks lie where they are drawn, features follow valence and person and not the pose."""

import numpy as np
import pytest

from unsnarl.data.sentiment import VISION_NAMES, draw_faces
from unsnarl.data.sentiment._face import IDENTITIES, face_features, face_landmarks, identities

LEVEL = np.array([0.0, 0.0, 0.0, 1.0])


def showing(valence, n=1):
    expression = np.zeros((n, 5))
    expression[:, :3] = valence
    expression[:, 4] = 1
    return expression


def named(*args):
    return dict(zip(VISION_NAMES, face_features(*args)[0], strict=True))


def test_there_are_20_landmarks_and_35_numbers():
    assert face_landmarks(0, showing(0), LEVEL).shape == (1, 20, 2)
    assert len(VISION_NAMES) == len(set(VISION_NAMES)) == 35
    assert face_features(0, showing(0, 4), LEVEL, np.zeros((4, 40))).shape == (4, 35)


@pytest.mark.parametrize("identity", range(IDENTITIES))
def test_the_face_follows_its_valence(identity):
    sad, glad = (named(identity, showing(v), LEVEL, np.zeros((1, 40))) for v in (-1.0, 1.0))
    assert glad["mouth corner y"] == pytest.approx(sad["mouth corner y"] - 10)  # y points down, hundredths of the frame
    assert glad["brow middle y"] < sad["brow middle y"] - 3
    opened = [face["lower lid y"] - face["upper lid y"] for face in (sad, glad)]
    assert opened[1] / opened[0] == pytest.approx(1.35 / 0.65)
    who = identities()[identity]
    assert glad["eye outer x"] - glad["eye inner x"] == pytest.approx(200 * who.eye_width)
    assert glad["mouth corner x"] == sad["mouth corner x"] == pytest.approx(100 * who.mouth_width)


def test_the_pose_is_undone():
    tilted = np.array([0.11, 0.03, -0.02, 1.0])
    straight, turned = (face_features(4, showing(0.5), pose, np.zeros((1, 40)))[0] for pose in (LEVEL, tilted))
    roll = VISION_NAMES.index("roll")
    assert turned[roll] == pytest.approx(11)
    assert straight[roll] == pytest.approx(0)
    others = np.arange(35) != roll
    np.testing.assert_allclose(turned[others], straight[others], atol=0.01)


def test_landmarks_lie_on_what_is_drawn():
    size, pose = 400, np.array([0.08, 0.02, 0.01, 1.0])
    frame = draw_faces(3, showing(0.8), pose, size=size)[0].astype(int)
    points = (face_landmarks(3, showing(0.8), pose)[0] * size).astype(int)
    corner_in = points[[16, 17]].mean(axis=0).astype(int), points[18]
    for x, y in (corner_in[1], points[19]):  # upper and lower lip
        red, green, _ = frame[y, x]
        assert red > 1.8 * green
    for brow in (1, 10):
        x, y = points[brow]
        hair = identities()[3].hair * 0.8 * 255
        np.testing.assert_allclose(frame[y, x], hair, atol=6)
    eye = points[3:7].mean(axis=0).astype(int)
    assert frame[eye[1], eye[0]].max() < 40  # the pupil


def test_people_differ_and_light_changes_the_skin():
    measures = [[v for k, v in vars(who).items() if k not in ("skin", "hair")] for who in identities()]
    scaled = (np.array(measures) - np.mean(measures, axis=0)) / np.std(measures, axis=0)
    apart = np.linalg.norm(scaled[:, None] - scaled[None], axis=-1)[np.triu_indices(IDENTITIES, 1)]
    assert len(identities()) == 12
    assert apart.min() > 3
    bright, dim = (named(5, showing(0), np.array([0, 0, 0, light]), np.zeros((1, 40))) for light in (1.0, 0.8))
    skin = identities()[5].skin
    np.testing.assert_allclose([bright[f"skin {c}"] for c in ("red", "green", "blue")], skin, atol=0.004)
    assert dim["skin red"] == pytest.approx(0.8 * skin[0], abs=0.004)


def test_frames_and_the_finders_error():
    frames = draw_faces(0, showing(0, 3), LEVEL)
    assert frames.shape == (3, 48, 48, 3)
    assert frames.dtype == np.uint8
    noise = np.random.default_rng(0).normal(size=(400, 40))
    found = face_features(0, showing(0, 400), LEVEL, noise)
    spread = found[:, VISION_NAMES.index("mouth corner slant")].std()
    assert 0.4 * np.sqrt(2) * 0.9 < spread < 0.4 * np.sqrt(2) * 1.6  # .4 hundredths each, and the error of the roll
