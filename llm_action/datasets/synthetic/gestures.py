"""Scripts of the synthetic actions done with hands and head, and what all scripts share.

A script is a function that adds keyframes to a `Performer`. It is written for a right-handed person 1.70 m tall. Points
are (outwards, up, forward) in metres, angles are degrees. Every script varies its timing, extent and style.
"""

from __future__ import annotations

from llm_action.datasets.synthetic.body import Performer, Reach, Swing

MOUTH = (0.0, -0.06, 0.13)
HANDS = ("left_arm", "right_arm")


def near(p: Performer, frame: str, point, spread: float = 0.012, elbow=(0.5, -1.0, -0.3)) -> Reach:
    """Makes a target that differs a little from time to time: by a standard deviation of `spread` metres."""
    return Reach(frame, tuple(p.rng.normal(point, spread)), tuple(p.rng.normal(elbow, 0.08)))


def both(left, right=None) -> dict:
    """Gives both arms a pose, the same one without `right`."""
    return {"left_arm": left, "right_arm": left if right is None else right}


def lower_arms(p: Performer, seconds: float = 0.8, *hands: str) -> None:
    """Lets arms hang again, the right one without `hands`, and straightens head and trunk."""
    p.move(seconds, **{hand: p.resting_arm() for hand in hands or ("right_arm",)}, head=(0, 0, 0), trunk=(0, 0, 0))


def drinking_water(p: Performer) -> None:
    elbow = (p.vary(0.4, 1.0), -1.0, p.vary(-0.1, 0.4))
    p.move(0.8, right_arm=near(p, "chest", (0.10, -0.22, 0.30), 0.03), head=(8, 0, 0))
    p.hold(0.1)
    for _ in range(p.count(1, 3)):
        p.move(0.6, right_arm=near(p, "head", MOUTH, elbow=elbow), head=(-5, 0, 0))
        p.move(0.35, head=(-p.vary(15, 28) * p.amplitude, 0, 0), trunk=(-p.vary(0, 5), 0, 0))
        p.hold(p.vary(0.4, 0.9))
        p.move(0.5, right_arm=near(p, "chest", (0.08, -0.18, 0.30), 0.03), head=(0, 0, 0), trunk=(0, 0, 0))
        p.hold(0.15)
    lower_arms(p)


def making_a_phone_call(p: Performer) -> None:
    elbow = (p.vary(0.3, 0.9), -1.0, p.vary(0.3, 0.9))
    p.move(0.6, right_arm=near(p, "pelvis", (0.20, -0.02, 0.10), 0.02, (0.5, 0.3, -1.0)), head=(10, -10, 0))
    p.move(0.7, right_arm=near(p, "chest", (0.12, -0.08, 0.28), 0.03), head=(20, -5, 0))
    p.hold(p.vary(0.1, 0.7))
    p.move(0.6, right_arm=near(p, "head", (0.11, -0.06, 0.04), elbow=elbow), head=(0, 0, -p.vary(2, 12)))
    gesture = p.chance(0.4)
    for _ in range(p.count(2, 3)):
        p.move(0.6, head=(p.vary(-5, 12), p.vary(-20, 20), -p.vary(2, 12)), trunk=(0, p.vary(-8, 8), 0))
        if gesture:
            p.overlap(0.5)
            p.move(0.5, left_arm=Swing(p.vary(5, 25), 10, p.vary(0, 40), p.vary(40, 85)))
    lower_arms(p, 0.9, *HANDS)


def putting_on_a_hat(p: Performer) -> None:
    hands = HANDS if p.chance(0.6) else ("right_arm",)
    out = 0.10 if len(hands) == 2 else 0.05
    elbow = (1.0, -0.5, 0.2)
    p.move(0.8, **{hand: near(p, "chest", (out, -0.15, 0.32), 0.03) for hand in hands}, head=(18, 0, 0))
    p.hold(p.vary(0.1, 0.5))
    above = {hand: near(p, "head", (out + 0.03, 0.22, 0.08), 0.02, elbow) for hand in hands}
    p.move(0.7, **above, head=(8, 0, 0))
    p.move(0.35, **{hand: near(p, "head", (out + 0.02, 0.10, 0.04), elbow=elbow) for hand in hands})
    for _ in range(p.count(0, 2)):
        p.move(0.25, **{hand: near(p, "head", (out + 0.02, 0.12, 0.02), 0.015, elbow) for hand in hands})
        p.move(0.25, **{hand: near(p, "head", (out + 0.02, 0.09, 0.07), 0.015, elbow) for hand in hands})
    p.hold(p.vary(0.1, 0.5))
    lower_arms(p, 0.9, *hands)


def waving_a_hand(p: Performer) -> None:
    height, ahead, reach = p.vary(0.12, 0.45), p.vary(0.12, 0.28), p.vary(0.10, 0.20) * p.amplitude
    middle, elbow = p.vary(0.28, 0.38), (1.0, -0.9, -0.2)
    p.move(0.7, right_arm=near(p, "chest", (middle, height, ahead), 0.02, elbow))
    pace = p.vary(0.2, 0.32)
    for _ in range(p.count(3, 6)):
        p.move(pace, right_arm=Reach("chest", (middle + reach, height - 0.03, ahead), elbow), trunk=(0, 0, 2))
        p.move(pace, right_arm=Reach("chest", (middle - reach, height - 0.02, ahead), elbow), trunk=(0, 0, -1))
    lower_arms(p)


def clapping_hands(p: Performer) -> None:
    height, ahead = p.vary(-0.15, 0.12), p.vary(0.26, 0.36)
    apart, pace = p.vary(0.13, 0.24) * p.amplitude, p.vary(0.15, 0.24)
    p.move(0.6, **both(Reach("chest", (apart, height, ahead))))
    for _ in range(p.count(4, 8)):
        lift = p.vary(-0.02, 0.02)
        p.move(pace, **both(Reach("chest", (0.025, height + lift, ahead))))
        p.move(pace, **both(Reach("chest", (apart * p.vary(0.8, 1.1), height, ahead))))
    p.move(pace, **both(Reach("chest", (0.025, height, ahead))))
    lower_arms(p, 0.8, *HANDS)


def checking_the_time_on_a_watch(p: Performer) -> None:
    """The watch is on the left wrist."""
    watch = (p.vary(-0.08, 0.06), p.vary(-0.22, -0.06), p.vary(0.24, 0.32))
    raised = Reach("chest", watch, (1.0, -0.6, 0.0))
    p.move(0.7, left_arm=raised, head=(p.vary(15, 28), 12, 0), trunk=(p.vary(0, 6), 0, 0))
    if p.chance(0.5):
        # the other hand pulls the sleeve up
        p.move(0.5, right_arm=near(p, "chest", (watch[0] + 0.04, watch[1] + 0.05, watch[2] - 0.02)))
        p.move(0.3, right_arm=near(p, "chest", (watch[0] - 0.05, watch[1] + 0.05, watch[2] - 0.02)))
    p.hold(p.vary(0.7, 1.4))
    lower_arms(p, 0.7, *HANDS)
