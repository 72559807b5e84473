"""Which names change places in a mirror, and which are refused."""

import pytest

from keras_jft import sides

SPELLINGS = (
    ("left_eye", "right_eye"), ("eye_left", "eye_right"),
    ("Left_Eye", "Right_Eye"), ("LEFT_EYE", "RIGHT_EYE"),
    ("left eye", "right eye"), ("left-eye", "right-eye"),
    ("eye.left", "eye.right"), ("leftEye", "rightEye"),
    ("EyeLeft", "EyeRight"), ("lefteye", "righteye"),
    ("LEFTEYE", "RIGHTEYE"), ("eyeleft", "eyeright"),
    ("l_eye", "r_eye"), ("L_Eye", "R_Eye"), ("LEye", "REye"),
    ("lEye", "rEye"), ("leye", "reye"), ("LEYE", "REYE"),
    ("eye_l", "eye_r"), ("eyeL", "eyeR"), ("Lt Eye", "Rt Eye"),
    ("lft_eye", "rgt_eye"), ("eyeLft", "eyeRgt"),
)  # fmt: skip


@pytest.mark.parametrize("pair", SPELLINGS, ids=lambda pair: pair[0])
def test_a_side_is_read_in_every_usual_spelling(pair):
    names = ("nose", *pair, "tail")
    assert sides.mirrored(names) == [0, 2, 1, 3]
    left, right = sides.read(names)[1:3]
    assert (left.side, left.joint, left.partner) == ("left", "eye", 2)
    assert (right.side, right.joint, right.partner) == ("right", "eye", 1)


@pytest.mark.parametrize(
    "names, expected",
    [
        # Numbers stay with their names.
        (("left_eye_2", "left_eye_1", "right_eye_1", "right_eye_2"),
         [3, 2, 1, 0]),
        (("toeL1", "toeR1", "hand_l2", "hand_r2"), [1, 0, 3, 2]),
        (("left1", "right1", "HandL_01", "HandR_01"), [1, 0, 3, 2]),
        # Wheels: front and rear.
        (("fl", "fr", "rl", "rr"), [1, 0, 3, 2]),
        (("tl", "tr", "br", "bl"), [1, 0, 3, 2]),
        # The left eye's right corner is the right eye's left one.
        (("l_eye_left_corner", "l_eye_right_corner", "r_eye_left_corner",
          "r_eye_right_corner"), [3, 2, 1, 0]),
        # The R of an electrocardiogram has no side, its slopes have.
        (("R_peak_left", "R_peak_right"), [1, 0]),
        # Vertebrae, and words that only hold those letters.
        (("L1", "L2", "rail", "lip", "cleft_chin", "upright", "leye", "reye"),
         [0, 1, 2, 3, 4, 5, 7, 6]),
        # Letters alone, where other names show that they are sides.
        (("L", "C", "R", "left_eye", "right_eye"), [2, 1, 0, 4, 3]),
        (("left", "right", "l", "r"), [1, 0, 3, 2]),
        (("light", "left", "right"), [0, 2, 1]),
    ],
)  # fmt: skip
def test_only_sides_change_places(names, expected):
    assert sides.mirrored(names) == expected


@pytest.mark.parametrize(
    "names, lone",
    [
        (("nose", "left_eye"), ["left_eye"]),
        (("l_eye", "nose"), ["l_eye"]),
        (("upper_l",), ["upper_l"]),
        (("LHip", "RKnee"), ["LHip", "RKnee"]),
        (("lefteye",), ["lefteye"]),
        # Two spellings are two names.
        (("left eye", "right_eye"), ["left eye", "right_eye"]),
        # Which of two?
        (("left_eye", "left_eye", "right_eye"), ["right_eye"]),
        (("ll", "lr", "rl", "rr"), ["ll", "lr", "rl", "rr"]),
    ],
)
def test_a_side_without_one_partner_is_refused(names, lone):
    with pytest.raises(ValueError, match="`flip_pairs`") as error:
        sides.mirrored(names)
    assert f"of which {lone} look" in str(error.value)
    # Reading alone asks for no partner.
    assert len(sides.read(names)) == len(names)


@pytest.mark.parametrize(
    "names",
    [
        ("左眼", "右眼"),
        ("Auge links", "Auge rechts"),
        ("port_bow", "starboard_bow"),
        ("ojo_izquierdo", "ojo_derecho"),
        ("kp_0", "kp_1"),
        ("L1", "L2", "S1", "lip"),
        # Letters alone.
        ("R", "C", "L"),
        ("l", "r"),
        ("P", "Q", "R", "S", "T"),
        ("l", "m", "n"),
    ],
)
def test_names_without_a_side_are_warned_of_once_and_stay(names):
    sides._warn_of_no_sides.cache_clear()
    with pytest.warns(
        UserWarning, match=r"Nothing changes.*`flip_pairs`"
    ) as told:
        order = sides.mirrored(names)
    assert order == list(range(len(names)))
    assert len(told) == 1
    # Warnings are errors here: not again, and not where the user says so.
    assert sides.mirrored(names) == order
    sides._warn_of_no_sides.cache_clear()
    assert sides.mirrored(names, pairs=[]) == order
    assert not any(side.side for side in sides.read(names))


def test_one_keypoint_has_nothing_to_change_places_with():
    assert sides.mirrored(("nose",)) == [0]


def test_pairs_can_be_given_by_name_or_position():
    names = ("left_eye", "wing1", "wing2")
    assert sides.mirrored(names, pairs=[("wing2", "wing1")]) == [0, 2, 1]
    assert sides.mirrored(names, pairs=[(1, 2)]) == [0, 2, 1]
    assert sides.mirrored((), pairs=[(0, 3)], count=4) == [3, 1, 2, 0]
    assert sides.mirrored(names, pairs=[]) == [0, 1, 2]


@pytest.mark.parametrize(
    "pairs, message",
    [
        ([("wing1", "wing3")], "'wing3'"),
        ([(0, 3)], "positions below 3.*Received: 3"),
        ([(0, -1)], "Received: -1"),
        ([(0, True)], "Received: True"),
        ([("wing1", "wing2"), ("wing1", "eye")], "at most once"),
        ([("eye", "eye")], "at most once"),
        ([("wing1",)], "a list of pairs"),
        (["ab"], "a list of pairs"),
        ([3], "a list of pairs"),
    ],
)
def test_pairs_that_are_not_pairs_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        sides.mirrored(("eye", "wing1", "wing2"), pairs=pairs)


def test_classes_pair_by_whole_words_alone():
    names = ("Turn Left", "Turn Right", "l_lane", "r_lane", "lamp", "ramp")
    pairs = [("Turn Left", "Turn Right"), ("l_lane", "r_lane")]
    assert sides.pairs_of_classes(names) == pairs
    assert sides.pairs_of_classes((*"LR", "right whale", "leftover")) == []
