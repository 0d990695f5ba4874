"""Scripts of the synthetic whole-body actions and of those between two persons, and the table of all twenty actions.

`gestures` has the other scripts and says how one is written.
"""

from __future__ import annotations

from collections.abc import Callable

from llm_action.datasets.synthetic.body import SIDES, Performer, Reach, Swing
from llm_action.datasets.synthetic.gestures import (
    HANDS,
    both,
    checking_the_time_on_a_watch,
    clapping_hands,
    drinking_water,
    lower_arms,
    making_a_phone_call,
    near,
    putting_on_a_hat,
    waving_a_hand,
)


def throwing_an_object(p: Performer) -> None:
    height, twist = p.vary(0.05, 0.30), p.vary(25, 40) * p.amplitude
    stride = p.vary(0.15, 0.40) * p.amplitude if p.chance(0.7) else 0.0
    p.move(0.5, right_arm=near(p, "chest", (0.10, -0.18, 0.30), 0.03))
    p.move(
        0.6,
        right_arm=near(p, "chest", (0.38, height, -0.22), 0.03, (1.0, -0.3, -0.2)),
        left_arm=Swing(p.vary(40, 80), 15, 20, 30),
        trunk=(-6, -twist, -6),
        pelvis=(-0.05, -0.03, -0.05),
    )
    if stride:
        p.overlap(0.3)
        p.step("left", 0.4, p.stance("left", forward=stride))
    p.move(
        0.32,
        right_arm=near(p, "chest", (0.22, height + 0.05, 0.50), 0.03, (1.0, -0.6, 0.0)),
        trunk=(14, twist * 0.5, 5),
        pelvis=(0.04, -0.04, 0.05 + stride * 0.55),
    )
    p.move(
        0.30,
        right_arm=near(p, "chest", (-0.10, -0.35, 0.36), 0.04, (1.0, -0.3, 0.0)),
        left_arm=Swing(-10, 20, 0, 30),
        trunk=(22, twist, 4),
    )
    p.hold(0.1)
    p.move(0.7, **both(p.resting_arm()), trunk=(0, 0, 0), pelvis=(0, 0, stride * 0.5))
    if stride:
        p.overlap(0.5)
        p.step("left", 0.5, p.stance("left", forward=stride * 0.5))


def punching_the_air(p: Performer) -> None:
    guard = both(near(p, "chest", (0.10, 0.08, 0.26), 0.02), near(p, "chest", (0.10, 0.06, 0.20), 0.02))
    stance = {"pelvis": (0, -0.04, 0), "trunk": (8, -15, 0)}
    p.step("left", 0.35, p.stance("left", forward=0.15, width=1.3))
    p.overlap(0.35)
    p.move(0.6, **guard, **stance)
    hand, pace = p.chance(0.5), p.vary(0.16, 0.24)
    for _ in range(p.count(2, 5)):
        arm, sign = (HANDS[1], 1) if hand else (HANDS[0], -1)
        target = near(p, "chest", (0.06, p.vary(-0.05, 0.15), 0.62), 0.03, (0.8, -1.0, 0.0))
        p.move(pace, **{arm: target}, trunk=(12, sign * p.vary(18, 35) * p.amplitude, 0), pelvis=(0, -0.05, 0.05))
        p.move(pace * 1.2, **{arm: guard[arm]}, **stance)
        p.hold(p.vary(0.0, 0.25))
        hand = not hand if p.chance(0.8) else hand
    p.move(0.7, **both(p.resting_arm()), trunk=(0, 0, 0), pelvis=(0, 0, 0))
    p.overlap(0.5)
    p.step("left", 0.4, p.stance("left"))


def kicking(p: Performer) -> None:
    height, reach = p.vary(0.25, 0.70) * p.amplitude, p.vary(0.85, 1.10)
    foot = p.value("right_foot")
    balance = both(Swing(p.vary(15, 45), p.vary(25, 50), 10, 30), Swing(-p.vary(10, 30), p.vary(20, 45), 10, 30))
    p.move(0.45, pelvis=(0.075, -0.03, 0.0))
    p.move(0.35, right_foot=(foot[0], -0.32, foot[2]), right_lift=(0.10,), right_toe=(40,), trunk=(8, -10, 0))
    p.overlap(0.1)
    p.move(0.1, **balance)
    p.move(
        0.25,
        right_foot=(foot[0] + 0.03, reach, foot[2]),
        right_lift=(height,),
        right_toe=(-15,),
        trunk=(-p.vary(5, 15), 15, 0),
        pelvis=(0.07, -0.02, 0.04),
    )
    p.hold(0.08)
    p.move(0.45, right_foot=(foot[0], 0.0, foot[2]), right_lift=(0.08,), right_toe=(15,), trunk=(4, 0, 0))
    p.move(0.3, right_foot=foot, right_lift=(0,), right_toe=(0,), trunk=(0, 0, 0), **both(p.resting_arm()))
    p.move(0.4, pelvis=(0, 0, 0))


def jumping_up(p: Performer) -> None:
    crouch, height = p.vary(0.15, 0.32), p.vary(0.15, 0.38) * p.amplitude
    swing_arms = p.chance(0.75)
    for _ in range(p.count(1, 2)):
        back = both(Swing(-p.vary(25, 45), 10, 0, 20)) if swing_arms else {}
        up = both(Swing(p.vary(75, 140), 15, 0, 25)) if swing_arms else {}
        p.move(0.5, pelvis=(0, -crouch, -0.10), trunk=(p.vary(25, 40), 0, 0), head=(-12, 0, 0), **back)
        p.move(0.30, True, pelvis=(0, 0.08, 0.02), trunk=(0, 0, 0), left_toe=(45,), right_toe=(45,), **up)
        seconds = (8 * height / 9.81) ** 0.5
        for k in range(1, 7):
            raised = 4 * height * (k / 6) * (1 - k / 6)
            feet = {f"{side}_lift": (raised,) for side in SIDES} | {f"{side}_toe": (45 - 2 * k,) for side in SIDES}
            p.move(seconds / 6, True, pelvis=(0, 0.08 + raised, 0.02), **feet)
        land = both(Swing(p.vary(10, 40), 20, 0, 25)) if swing_arms else {}
        p.move(0.2, pelvis=(0, -crouch * 0.7, -0.08), trunk=(25, 0, 0), left_toe=(0,), right_toe=(0,), **land)
        p.move(0.5, pelvis=(0, 0, 0), trunk=(0, 0, 0), head=(0, 0, 0), **both(p.resting_arm()))


def squatting(p: Performer) -> None:
    stretched, folded = p.chance(0.7), near(p, "chest", (0.04, -0.12, 0.25))
    for side in SIDES:
        p.step(side, 0.3, p.stance(side, width=p.vary(1.3, 1.7)))
    for _ in range(p.count(1, 3)):
        depth = p.vary(0.30, 0.46) * min(p.amplitude, 1.0)
        bend = p.vary(70, 95) * depth
        down = {"pelvis": (0, -depth, -0.42 * depth), "trunk": (bend, 0, 0), "head": (-12, 0, 0)}
        # stretched arms stay level while the chest bends
        p.move(0.9, **down, **both(Swing(75 + bend, 8, 0, 10) if stretched else folded))
        p.hold(p.vary(0.1, 0.5))
        arms = both(Swing(p.vary(10, 85), 8, 0, 12)) if stretched else {}
        p.move(0.8, pelvis=(0, 0, 0), trunk=(0, 0, 0), head=(0, 0, 0), **arms)
        p.hold(0.1)
    lower_arms(p, 0.6, *HANDS)


def bowing(p: Performer) -> None:
    angle = p.vary(35, 70) * p.amplitude
    hands = p.resting_arm() if p.chance(0.5) else near(p, "pelvis", (0.04, -0.06, 0.17))
    p.move(0.4, **both(hands))
    for _ in range(1 + p.chance(0.25)):
        p.move(0.9, trunk=(angle, 0, 0), head=(p.vary(0, 15), 0, 0), pelvis=(0, 0, -0.13 * angle / 60))
        p.hold(p.vary(0.3, 0.9))
        p.move(1.0, trunk=(0, 0, 0), head=(0, 0, 0), pelvis=(0, 0, 0))
    p.move(0.4, **both(p.resting_arm()))


def picking_up_an_object(p: Performer) -> None:
    knees = p.vary(0.2, 1.0)  # from a stiff stoop to a deep squat
    side, bend = p.vary(0.0, 0.15), 100 - 40 * knees
    down = {"pelvis": (0, -0.17 - 0.30 * knees, -0.18), "trunk": (bend, -8, -4), "head": (-10, 0, 0)}
    other = Reach("pelvis", (0.14, -0.16, 0.30), (1, 0, -0.5)) if p.chance(0.4) else Swing(bend * 0.6, 8, 0, 20)
    reach = near(p, "floor", (side, 0.06, 0.32), 0.02, (0.6, 0.2, -0.6))
    p.move(1.0, **down, left_arm=other)
    p.overlap(0.95)
    p.move(1.0, right_arm=reach)
    p.hold(p.vary(0.15, 0.4))
    p.move(1.0, pelvis=(0, 0, 0), trunk=(0, 0, 0), head=(10, 0, 0), left_arm=p.resting_arm())
    p.overlap(0.9)
    p.move(1.0, right_arm=near(p, "chest", (0.10, p.vary(-0.25, -0.1), 0.32), 0.03))
    p.hold(p.vary(0.2, 0.7))
    if p.chance(0.5):
        lower_arms(p)


def seated(p: Performer) -> dict:
    """Upright on a chair of one's own height, hands on the thighs or in the lap."""
    thighs = p.chance(0.6)
    hand = near(p, "pelvis", (0.10, 0.06, 0.36) if thighs else (0.04, 0.05, 0.22), 0.02, (0.25, -0.7, -0.8))
    return {"pelvis": (0, -0.36 + p.vary(-0.03, 0.05), -0.40), "trunk": (p.vary(-6, 6), 0, 0)} | both(hand)


def sitting_down(p: Performer) -> None:
    chair = seated(p)
    look = p.chance(0.5)
    p.move(0.4, head=(10, p.vary(20, 45) if look else 0, 0), trunk=(8, 12 if look else 0, 0))
    lean = (p.vary(30, 45) * p.amplitude, 0, 0)
    arms = both(Swing(p.vary(15, 40), 12, 0, 40))
    p.move(0.6, pelvis=(0, -0.18, -0.22), trunk=lean, head=(-5, 0, 0), **arms)
    p.move(0.5, pelvis=chair["pelvis"], trunk=(18, 0, 0), **both(chair["left_arm"], chair["right_arm"]))
    p.move(0.5, trunk=chair["trunk"], head=(0, 0, 0))
    p.hold(p.vary(0.3, 0.9))


def standing_up(p: Performer) -> None:
    p.start(**seated(p))
    p.hold(p.vary(0.3, 0.9))
    push = p.chance(0.5)
    hands = both(Reach("pelvis", (0.11, 0.08, 0.38), (0.4, 0.2, -1.0)) if push else Swing(p.vary(20, 55), 12, 0, 40))
    p.move(0.5, trunk=(p.vary(32, 48) * p.amplitude, 0, 0), head=(-12, 0, 0), **hands)
    p.move(0.55, pelvis=(0, -0.18, -0.14))
    p.move(0.55, pelvis=(0, 0, 0), trunk=(0, 0, 0), head=(0, 0, 0), **both(p.resting_arm()))
    p.hold(p.vary(0.1, 0.5))


def turning_around(p: Performer) -> None:
    way = 1 if p.chance(0.5) else -1
    total, steps = way * p.vary(165, 195), p.count(3, 5)
    first, second = ("left", "right") if way > 0 else ("right", "left")
    p.move(0.3, head=(0, way * 30, 0), trunk=(0, way * 10, 0))
    for k in range(1, steps + 1):
        yaw = total * k / steps
        for side in (first, second):
            p.move(0.16, turn=(yaw - total / steps * (0.5 if side == first else 0),))
            p.overlap(0.16)
            p.step(side, 0.30, p.stance(side, yaw=yaw), 0.06)
            swing = p.vary(5, 15)
            p.overlap(0.2)
            p.move(0.2, **both(Swing(swing if side == first else -8, 8, 10, 25), Swing(-8, 8, 10, 25)))
    p.move(0.4, head=(0, 0, 0), trunk=(0, 0, 0), **both(p.resting_arm()))


def walking_in_place(p: Performer) -> None:
    height, pace, swing = p.vary(0.10, 0.26) * p.amplitude, p.vary(0.24, 0.36), p.vary(15, 40) * p.amplitude
    elbow = p.vary(15, 80)
    for k in range(p.count(5, 8)):
        side, other = ("left", "right") if k % 2 else ("right", "left")
        foot = p.stance(side)
        forward, back = Swing(swing, 7, 12, elbow + 10), Swing(-swing * 0.7, 9, 5, elbow)
        weight = (-0.035 * SIDES[side], -0.01, 0)
        arms = {f"{other}_arm": forward, f"{side}_arm": back}
        lifted = {f"{side}_lift": (height,), f"{side}_toe": (25,), f"{side}_foot": (foot[0], foot[1] + 0.04, foot[2])}
        p.move(pace, **lifted, **arms, pelvis=weight, trunk=(2, 6 * SIDES[side], 0))
        p.move(pace, **{f"{side}_lift": (0,), f"{side}_toe": (0,), f"{side}_foot": foot}, pelvis=(0, -0.02, 0))
    p.move(0.5, **both(p.resting_arm()), pelvis=(0, 0, 0), trunk=(0, 0, 0))


def stretching_arms_up(p: Performer) -> None:
    together, lean, tiptoe = p.chance(0.5), p.vary(0, 14), p.vary(0, 30) if p.chance(0.5) else 0.0
    out = 0.03 if together else p.vary(0.12, 0.35)
    path = Reach("chest", (max(out, 0.04), 0.05, 0.30), (1, -0.6, 0)) if together else Swing(60, 70, 0, 20)
    p.move(0.7, **both(path))
    up = both(near(p, "head", (out, 0.40, 0.05), 0.02, (1.0, 0.1, 0.2)))
    p.move(0.8, **up, trunk=(-lean * 0.5, 0, 0), head=(-lean, 0, 0))
    raised = {f"{side}_toe": (tiptoe,) for side in SIDES}
    p.move(0.5, trunk=(-lean, 0, 0), pelvis=(0, 0.1 if tiptoe else 0, 0.04), **raised)
    p.hold(p.vary(0.3, 1.0))
    if p.chance(0.4):
        sideways = p.vary(10, 22)
        for sign in (1, -1):
            p.move(0.8, trunk=(-lean * 0.5, 0, sign * sideways), head=(0, 0, sign * 4))
    p.move(0.5, trunk=(0, 0, 0), pelvis=(0, 0, 0), head=(0, 0, 0), left_toe=(0,), right_toe=(0,))
    p.move(0.6, **both(Swing(15, p.vary(75, 110), 0, 20)))
    p.move(0.6, **both(p.resting_arm()))


def shaking_hands(p: Performer, other: Performer) -> None:
    height, shake, pace = p.vary(0.86, 1.02), p.vary(0.03, 0.07) * p.amplitude, p.vary(0.13, 0.2)
    shakes, bend = p.count(2, 5), p.vary(0, 8)
    elbow = (0.5, -1.0, -0.2)
    other.now = p.now
    beats = [(0.9, 0.0), *((pace, sign * shake) for _ in range(shakes) for sign in (1, -1)), (pace, 0.0)]
    for seconds, lift in beats:
        seconds *= p.vary(0.9, 1.15)
        hand = Reach("between", (0.0, height + lift, 0.0), elbow)
        p.move(seconds, True, right_arm=hand, trunk=(bend, 8, 0), head=(5, 0, 0))
        other.move(seconds, True, right_arm=hand, trunk=(bend * 0.5, 8, 0), head=(5, 0, 0))
    for person in (p, other):
        person.hold(p.vary(0.05, 0.3))
        lower_arms(person, 0.8)


def pushing_another_person(p: Performer, other: Performer) -> None:
    stride, force = p.vary(0.20, 0.34), p.vary(0.7, 1.1) * p.amplitude
    hands = both(near(p, "chest", (0.12, -0.08, 0.26), 0.02, (1.0, -0.8, -0.3)))
    contact = both(near(p, "partner", (0.10, -0.06, 0.08), 0.02, (1.0, -0.6, 0.0)))
    p.step("left", 0.45, p.stance("left", forward=stride))
    p.overlap(0.4)
    p.move(0.45, **hands, pelvis=(0, -0.04, stride * 0.4), trunk=(0, 0, 0))
    p.move(0.28, **contact, pelvis=(0, -0.05, stride * 0.65), trunk=(12, 0, 0))
    other.now = p.now
    # both bodies go with the push, then the arms lose touch
    p.move(0.2, True, pelvis=(0, -0.05, stride * 0.9), trunk=(16, 0, 0), **contact)
    other.move(0.2, True, pelvis=(0, -0.02, -0.10 * force), trunk=(-12 * force, 0, 0), head=(12, 0, 0))
    other.overlap(0.1)
    startled = both(Swing(p.vary(25, 60), p.vary(15, 35), 10, p.vary(40, 75)))
    back = 0.32 * force
    other.move(0.3, **startled, pelvis=(0, -0.05, -back * 0.8), trunk=(6, 0, 0))
    other.overlap(0.32)
    other.step("right", 0.36, other.stance("right", forward=-back))
    other.step("left", 0.4, other.stance("left", forward=-back * 0.85))
    other.overlap(0.4)
    other.move(0.7, pelvis=(0, 0, -back * 0.92), trunk=(0, 0, 0), head=(0, 0, 0), **both(other.resting_arm()))
    p.hold(0.15)
    p.move(0.7, **both(p.resting_arm()), pelvis=(0, 0, stride * 0.5), trunk=(0, 0, 0))
    p.overlap(0.6)
    p.step("left", 0.5, p.stance("left", forward=stride * 0.4))


ACTIONS: dict[str, Callable] = {
    "drinking water": drinking_water,
    "making a phone call": making_a_phone_call,
    "putting on a hat": putting_on_a_hat,
    "waving a hand": waving_a_hand,
    "clapping hands": clapping_hands,
    "checking the time on a watch": checking_the_time_on_a_watch,
    "throwing an object": throwing_an_object,
    "punching the air": punching_the_air,
    "kicking": kicking,
    "jumping up": jumping_up,
    "squatting": squatting,
    "bowing": bowing,
    "picking up an object": picking_up_an_object,
    "sitting down": sitting_down,
    "standing up": standing_up,
    "turning around": turning_around,
    "walking in place": walking_in_place,
    "stretching arms up": stretching_arms_up,
    "shaking hands": shaking_hands,
    "pushing another person": pushing_another_person,
}
TWO_PERSON = {"shaking hands": 0.95, "pushing another person": 0.95}  # metres between the two
