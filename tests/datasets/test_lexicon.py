"""The lexicon of actions: its texts and attributes agree, and a name is found however it is put."""

from __future__ import annotations

import json
import re

import pytest

from llm_action.datasets import BENCHMARKS
from llm_action.datasets.lexicon import (
    FOLDER,
    WrittenMovement,
    describe,
    find,
    movements,
    read_lexicon,
    shipped_lexicon,
)
from llm_action.modeling.action_lexicon import ActionLexicon

ALL = list(movements().values())

# Class names of data sets that this package does not read.
PKU_MMD = """
    bow, brushing hair, brushing teeth, check time (from watch), cheer up, clapping, cross hands in front (say stop),
    drink water, drop, eat meal/snack, falling, giving something to other person, hand waving, handshaking,
    hopping (one foot jumping), hugging other person, jump up, kicking other person, kicking something,
    make a phone call/answer phone, pat on back of other person, pickup, playing with phone/tablet,
    point finger at the other person, pointing to something with finger, punching/slapping other person,
    pushing other person, put on a hat/cap, put something inside pocket, reading, rub two hands together, salute,
    sitting down, standing up, take off a hat/cap, take off glasses, take off jacket, take out something from pocket,
    taking a selfie, tear up paper, throw, touch back (backache), touch chest (stomachache/heart pain),
    touch head (headache), touch neck (neckache), typing on a keyboard, use a fan (with hand or paper)/feeling warm,
    wear jacket, wear on glasses, wipe face, writing
"""
MSRC_12 = """
    start system, duck, push right, goggles, wind it up, shoot, bow, throw, had enough, change weapon, beat both, kick,
    lift outstretched arms, crouch, push to the right, put on goggles, wind up music, shoot a pistol, take a bow,
    throw an object, put hands to the head, beat both arms up and down
"""
HUMANACT12 = """
    warm_up, walk, run, jump, drink, lift_dumbbell, sit, eat, turn steering wheel, phone, boxing, throw
"""
# Of HMDB51 without smile, whose movement is in the face.
HMDB51 = """
    brush_hair, cartwheel, catch, chew, clap, climb, climb_stairs, dive, draw_sword, dribble, drink, eat, fall_floor,
    fencing, flic_flac, golf, handstand, hit, hug, jump, kick, kick_ball, kiss, laugh, pick, pour, pullup, punch, push,
    pushup, ride_bike, ride_horse, run, shake_hands, shoot_ball, shoot_bow, shoot_gun, sit, situp, smoke, somersault,
    stand, swing_baseball, sword, sword_exercise, talk, throw, turn, walk, wave
"""
UCF101 = """
    ApplyEyeMakeup, ApplyLipstick, Archery, BabyCrawling, BalanceBeam, BandMarching, BaseballPitch, Basketball,
    BasketballDunk, BenchPress, Biking, Billiards, BlowDryHair, BlowingCandles, BodyWeightSquats, Bowling,
    BoxingPunchingBag, BoxingSpeedBag, BreastStroke, BrushingTeeth, CleanAndJerk, CliffDiving, CricketBowling,
    CricketShot, CuttingInKitchen, Diving, Drumming, Fencing, FieldHockeyPenalty, FloorGymnastics, FrisbeeCatch,
    FrontCrawl, GolfSwing, Haircut, Hammering, HammerThrow, HandstandPushups, HandstandWalking, HeadMassage, HighJump,
    HorseRace, HorseRiding, HulaHoop, IceDancing, JavelinThrow, JugglingBalls, JumpingJack, JumpRope, Kayaking,
    Knitting, LongJump, Lunges, MilitaryParade, Mixing, MoppingFloor, Nunchucks, ParallelBars, PizzaTossing,
    PlayingCello, PlayingDaf, PlayingDhol, PlayingFlute, PlayingGuitar, PlayingPiano, PlayingSitar, PlayingTabla,
    PlayingViolin, PoleVault, PommelHorse, PullUps, Punch, PushUps, Rafting, RockClimbingIndoor, RopeClimbing, Rowing,
    SalsaSpin, ShavingBeard, Shotput, SkateBoarding, Skiing, Skijet, SkyDiving, SoccerJuggling, SoccerPenalty,
    StillRings, SumoWrestling, Surfing, Swing, TableTennisShot, TaiChi, TennisSwing, ThrowDiscus, TrampolineJumping,
    Typing, UnevenBars, VolleyballSpiking, WalkingWithDog, WallPushups, WritingOnBoard, YoYo
"""
CLASS_NAMES = {
    **{name: BENCHMARKS[name].labels for name in BENCHMARKS},
    **{
        name: [label.strip() for label in labels.split(",")]
        for name, labels in {
            "pku_mmd": PKU_MMD,
            "msrc_12": MSRC_12,
            "humanact12": HUMANACT12,
            "hmdb51": HMDB51,
            "ucf101": UCF101,
        }.items()
    },
}


def sayings(movement: WrittenMovement) -> list[str]:
    """All clauses of an entry, of the parts and of the phases."""
    return [*movement.parts.values(), *movement.phases.values()]


def text(movement: WrittenMovement) -> str:
    return ". ".join(sayings(movement))


def hands_and_arms(movement: WrittenMovement) -> str:
    return ". ".join(movement.parts.get(part, "") for part in ("hands", "arms"))


def swapped(said: str) -> str:
    """Left for right, and clockwise for counter-clockwise."""
    words = {"left": "right", "right": "left", "clockwise": "counter-clockwise", "counter-clockwise": "clockwise"}
    return re.sub(r"\b(left|right|(?:counter-)?clockwise)\b", lambda word: words[word[0]], said)


class TestEntries:
    def test_there_are_enough_and_each_file_says_what_it_holds(self):
        assert len(ALL) - sum(one.mirror is not None for one in ALL) // 2 >= 400
        for file in FOLDER.glob("*.json"):
            assert json.loads(file.read_text(encoding="utf-8"))["about"], file

    def test_entry_names_differ_between_files(self):
        assert sum(len(read_lexicon(file)) for file in FOLDER.glob("*.json")) == len(ALL)

    def test_no_two_entries_share_a_name(self):
        def plain(name: str) -> str:
            return re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()

        owners: dict[str, set[str]] = {}
        for one in ALL:
            for name in (one.name, *one.names):
                owners.setdefault(plain(name), set()).add(one.name)
        assert {name: who for name, who in owners.items() if len(who) > 1} == {}

    def test_no_two_entries_share_a_text(self):
        for texts in ([". ".join(one.parts.values()) for one in ALL], [". ".join(one.phases.values()) for one in ALL]):
            assert {said for said in texts if texts.count(said) > 1} == set()

    def test_an_entry_says_enough(self):
        assert [one.name for one in ALL if len(one.attributes) < 3] == []
        assert [one.name for one in ALL if len(" ".join(sayings(one)).split()) < 20] == []
        assert [one.name for one in ALL if len(set(one.phases.values())) < 3] == []

    def test_texts_are_clauses_without_capitals_and_full_stops(self):
        said = [clause for one in ALL for clause in sayings(one)]
        assert [one for one in said if one != one.strip() or not one[0].islower() or one.endswith(".")] == []

    def test_a_damaged_file_gets_an_error_that_says_what_was_expected(self, tmp_path):
        good = json.loads((FOLDER / "combat.json").read_text(encoding="utf-8"))["movements"][0]
        file = tmp_path / "own.json"
        for damage, expected in (
            ({"side": "middle"}, "'box': expected side among right, left"),
            ({"repeated": "yes"}, "expected repeated among once"),
            ({"parts": {"tail": "it wags"}}, "expected parts among head"),
            ({"phases": {"start": "it begins"}}, "expected the phases start, middle, end"),
            ({"attributes": {"tail": "yes"}}, "unknown attribute 'tail'"),
            ({"colour": "red"}, "movement 0: expected attributes, name"),
        ):
            file.write_text(json.dumps({"movements": [good | damage]}), encoding="utf-8")
            with pytest.raises(ValueError, match=expected):
                read_lexicon(file)
        file.write_text("[]", encoding="utf-8")
        with pytest.raises(ValueError, match='expected {"about"'):
            read_lexicon(file)


def contradictions(
    attribute: str, pattern: str, *values: str, part: str | None = None, unless: str = "$^"
) -> list[str]:
    """The entries whose text, or that of one part, matches the pattern while the attribute has none of the values.

    Entries that leave the attribute out contradict nothing, nor do texts that match `unless`.
    """
    found = []
    for one in ALL:
        said = (
            text(one) if part is None else hands_and_arms(one) if part == "hands and arms" else one.parts.get(part, "")
        )
        given = set(one.attributes.get(attribute, ()))
        if given and re.search(pattern, said) and not re.search(unless, said) and not given & set(values):
            found.append(one.name)
    return found


class TestTextAndAttributesAgree:
    """Keywords of the texts against the attributes, by rules of this test."""

    def test_one_side_s_arm_is_not_the_other_s(self):
        for side, other in (("left", "right"), ("right", "left")):
            alone = [one for one in ALL if re.search(rf"\b{side} (hand|arm)\b", hands_and_arms(one))]
            alone = [one for one in alone if not re.search(rf"\b{other} (hand|arm)\b", hands_and_arms(one))]
            assert [one.name for one in alone if one.attributes.get("arms") == (f"{other} arm",)] == []
            given = [one for one in ALL if one.attributes.get("arms") == (f"{side} arm",)]
            assert given
            assert [one.name for one in given if one.side not in (side, "both")] == []

    def test_both_hands_move_both_arms(self):
        both = r"\bboth (hands|arms|fists|palms)\b"
        assert contradictions("arms", both, "both arms", "neither arm", part="hands and arms") == []

    def test_hands_above_the_head(self):
        raised = r"\b(hands?|fists?|arms?|palms?|meet)\b[^.,]*\babove the head\b"
        assert contradictions("hands", raised, "above the head", part="hands and arms") == []

    def test_hands_at_the_face(self):
        face = r"\bhands?\b[^.,]* to the (mouth|lips|ears?|eyes|nose|face)\b"
        assert contradictions("hands", face, "at the head", "above the head", part="hands") == []

    def test_hands_that_meet(self):
        meet = r"\bboth (hands|palms) (meet|are clasped)|\bclap together|\bside by side in front"
        assert contradictions("together", meet, "yes", part="hands") == []

    def test_hands_on_the_floor(self):
        floor = r"\b(hands?|fingers?)\b[^.,]*\b(to|at|reach|on|touch) the (floor|ground|toes)\b(?! with)"
        assert contradictions("floor", floor, "yes", part="hands", unless="point") == []

    def test_far_reaching_hands(self):
        assert contradictions("reach", r"\bfar (out|ahead)\b", "yes", part="hands", unless="in small|above") == []

    def test_the_body_s_height(self):
        down, up = r"\b(go|goes) down\b|\bsinks?\b|\bdrop\b", r"\b(rise|leave the seat)\b"
        assert contradictions("body", down, "down", "down and up", part="hips", unless=up) == []
        assert contradictions("body", up, "up", "down and up", part="hips", unless=rf"{down}|dip") == []

    def test_going_down_and_getting_up_by_name(self):
        for verbs, value in (("(sit|kneel|lie|fall) down", "down"), ("(stand|get) up", "up")):
            named = [one for one in ALL if re.match(rf"{verbs}\b", one.name)]
            assert named
            assert [one.name for one in named if one.attributes["body"] != (value,)] == []

    def test_the_feet(self):
        stepping = r"\bthe feet (step along|run|walk)\b"
        assert contradictions("feet", stepping, "keep stepping", "step", part="feet") == []
        assert contradictions("feet", r"\bthe feet stay\b", "stay", part="feet") == []
        assert contradictions("feet", r"\bone foot (takes|steps)\b", "step", "keep stepping", part="feet") == []

    def test_the_lean(self):
        lean = r"\b(leans?|bends?|bent|folds?|rocks?) (deeply |far )?forward\b"
        assert contradictions("lean", lean, "yes", part="trunk") == []
        assert contradictions("lean", r"\bstays? upright\b", "no", part="trunk") == []

    def test_the_repetition(self):
        once = [one for one in ALL if one.repeated == "once"]
        assert [one.name for one in once if one.attributes.get("repeated") == ("yes",)] == []
        assert [one.name for one in once if "again and again" in text(one)] == []
        repeated = [one for one in ALL if one.repeated == "repeated"]
        assert [one.name for one in repeated if one.attributes.get("repeated") == ("no",)] == []

    def test_the_turn(self):
        assert contradictions("turn", r"(?<!counter-)\bclockwise\b", "clockwise") == []
        assert contradictions("turn", r"\bcounter-clockwise\b", "counter-clockwise") == []
        assert [one.name for one in ALL if "clockwise" in text(one) and len(one.attributes["turn"]) != 1] == []

    def test_the_side(self):
        for one in ALL:
            limbs = r"(hand|arm|forearm|leg|foot|knee)"
            said = {side for side in ("left", "right") if re.search(rf"\b{side} {limbs}\b", text(one))}
            if one.side in ("either", "none"):
                assert said == set(), one.name
            if one.side in ("left", "right") and said:
                assert one.side in said, one.name

    def test_the_company(self):
        other = [one for one in ALL if re.search(r"\bthe other's\b", text(one))]
        assert len(other) > 20
        assert [one.name for one in other if not one.company] == []


class TestRelations:
    def test_an_opposite_is_mutual_and_differs(self):
        opposed = [one for one in ALL if one.opposite]
        assert len(opposed) > 60
        for one in opposed:
            other = movements()[one.opposite]
            assert other.opposite == one.name
            assert one.parts != other.parts
            assert one.phases["middle"] != other.phases["middle"], one.name

    def test_an_attribute_tells_opposites_apart(self):
        """But for those that are one another played backwards: no attribute tells first from last."""
        backwards = re.compile(r"(put|take|zip|unzip|open|close|button|unbutton|enter|leave|get (in|out))\b")
        for one in ALL:
            if one.opposite and not backwards.match(one.name):
                theirs = movements()[one.opposite].attributes
                names = one.attributes.keys() | theirs.keys()
                assert any(set(one.attributes.get(name, ())) != set(theirs.get(name, ())) for name in names), one.name

    def test_a_mirrored_entry_has_left_and_right_swapped(self):
        mirrored = [one for one in ALL if one.mirror]
        assert len(mirrored) > 20
        for one in mirrored:
            other = movements()[one.mirror]
            assert other.mirror == one.name == swapped(other.name)
            assert {part: swapped(said) for part, said in one.parts.items()} == other.parts
            assert {phase: swapped(said) for phase, said in one.phases.items()} == other.phases
            assert swapped(one.side) == other.side
            assert list(one.attributes) == list(other.attributes)
            for name, values in one.attributes.items():
                sided = name in ("arms", "sweep", "turn")
                assert set(map(swapped, values) if sided else values) == set(other.attributes[name]), one.name
            assert any(re.search(r"\b(left|right|clockwise)\b", said) for said in sayings(one))


# Query to the entry that it means; none of the queries is a name in the entry.
QUERIES = """
    raise arm: raise your hand
    raising an arm: raise your hand
    ARM RAISES: raise your hand
    the right arm is raised: raise your right hand
    raises his left hand: raise your left hand
    left arm raised: raise your left hand
    raising both of your hands: raise both hands
    person waves a hand: wave
    waving with left hand: wave your left hand
    waved his hands: wave
    clapped: clap your hands
    clapping her hands: clap your hands
    sits down: sit down
    sat down: sit down
    sitting down on chair: sit down
    stand to sit: sit down
    sit to stand: stand up
    stands up: stand up
    standing upp: stand up
    jumpnig jacks: do jumping jacks
    Jumping-Jacks: do jumping jacks
    JUMPINGJACKS: do jumping jacks
    squatts: squat
    doing squats: squat
    perform a lunge: lunge
    lunging forwards: lunge
    drinking from a cup: drink
    water drinking: drink
    drank water: drink
    eating with fork: eat
    teeth brushing: brush your teeth
    brushes teeth: brush your teeth
    combing your hair: brush your hair
    phone calls: make a phone call
    throwing a football: throw a ball
    ball throwing: throw a ball
    threw a ball: throw a ball
    catching the ball: catch a ball
    kicks the ball: kick a ball
    ball kick: kick a ball
    soccer penalties: kick a ball
    golf swinging: swing a golf club
    swinging a tennis raket: swing a tennis racket
    tennis serving: serve a tennis ball
    bouncing balls: bounce a ball
    picking up an object from the floor: pick up something
    hugs another person: hug someone
    hug people: hug someone
    shaking someone's hand: shake hands
    pushes somebody: push someone
    kicks someone: kick someone
    give an object to somebody: give something to someone
    taking the jacket off: take off a jacket
    jacket on put: put on a jacket
    puts his hat on: put on a hat
    walks backwards: walk backwards
    walks in circles: walk in a circle
    jogs: jog
    crawls on hands and knees: crawl
    climbing the stairs: climb stairs
    falls down: fall down
    touches toes: touch your toes
    hands on the hips: put your hands on your hips
    crossing my arms: cross your arms
    drawing a circle in air: draw a circle in the air
    circle drawing clockwise: draw a circle clockwise
    swiping to the left: swipe to the left
    swipes right: swipe to the right
    rubs hands together: rub your hands together
    tyeing shoelaces: tie your shoelaces
    typing at the keybord: type on a keyboard
    pointing at a person: point a finger at someone
    hit somebody with an object: hit someone with something
    arm circling: circle the arms
"""
PAIRS = [tuple(part.strip() for part in line.split(": ")) for line in QUERIES.strip().splitlines()]


class TestFind:
    @pytest.mark.parametrize("dataset", CLASS_NAMES)
    def test_every_class_name_is_found(self, dataset):
        assert [str(find(label)) for label in CLASS_NAMES[dataset] if find(label).movement is None] == []

    def test_every_own_name_finds_its_entry(self):
        names = [(name, one.name) for one in ALL for name in (one.name, *one.names)]
        found = {name: match.movement and match.movement.name for name, _ in names for match in [find(name)]}
        assert {name: found[name] for name, owner in names if found[name] != owner} == {}

    @pytest.mark.parametrize(("query", "entry"), PAIRS)
    def test_however_it_is_put(self, query, entry):
        match = find(query)
        assert match.movement is not None, str(match)
        assert match.movement.name == entry

    def test_it_says_what_a_name_was_read_as(self):
        match = find("raising an arm")
        assert match.asked == "raising an arm"
        assert match.read_as in match.movement.names
        assert str(match) == "'raising an arm' was read as 'raise your hand'"

    def test_what_only_one_letter_sets_apart_is_not_mixed_up(self):
        for one, other in (("put on a hat", "put on a coat"), ("push", "pull"), ("walk", "talk"), ("sit", "sip")):
            assert find(one).movement != find(other).movement

    def test_posture_and_change_of_posture_differ(self):
        assert [find(name).movement.name for name in ("sit", "sitting")] == ["sit down", "sit still"]
        assert [find(name).movement.name for name in ("stand", "standing")] == ["stand up", "stand still"]
        assert find("the person is sitting").movement.name == "sit still"
        assert find("sits").movement is None
        assert {"sit down", "sit still"} <= set(find("sits").suggestions)

    @pytest.mark.parametrize(
        ("query", "near"), [("throw the big red ball", "throw a ball"), ("raise a hand quickly", "raise your hand")]
    )
    def test_a_near_miss_gives_suggestions(self, query, near):
        match = find(query)
        assert match.movement is None
        assert near in match.suggestions
        assert str(match) == f"{query!r} is not in the lexicon; near ones: {', '.join(match.suggestions)}"

    @pytest.mark.parametrize("query", ["", "  ", "...", "quantum entanglement", "日本語"])
    def test_nonsense_finds_nothing(self, query):
        match = find(query)
        assert match.movement is None
        assert match.suggestions == ()
        assert str(match) == f"{query!r} is not in the lexicon"


class TestUse:
    def test_a_label_s_description(self):
        described = describe(["Sitting down", "quantum entanglement"])
        assert list(described) == ["Sitting down"]
        description = described["Sitting down"]
        movement = movements()["sit down"]
        assert all(said in description.phrasings[0] for said in movement.parts.values())
        assert set(description.phrasings[1:]) == {movement.name, *movement.names}
        assert description.phases == tuple(movement.phases.values())
        assert description.attributes["body"] == ("down",)

    def test_it_travels_with_a_model(self, tmp_path):
        shipped_lexicon().save(tmp_path)
        carried = ActionLexicon.load(tmp_path)
        assert carried.find("take a seats").movement.attributes == movements()["sit down"].attributes
        assert [one.name for one in carried.movements] == [one.name for one in ALL]
        assert ActionLexicon.load(tmp_path / "elsewhere") is None

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[]", "expected .*movements"),
            ('{"movements": [{"name": "wave"}]}', "movement 0: expected name, names and attributes"),
            ('{"movements": [{"name": "w", "names": [], "attributes": {"tail": "yes"}}]}', "unknown attribute 'tail'"),
        ],
    )
    def test_a_damaged_file_is_named(self, tmp_path, content, message):
        (tmp_path / "lexicon.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            ActionLexicon.load(tmp_path)

    def test_entries_can_be_left_out_with_all_their_names(self):
        left = shipped_lexicon().without(["sitting down"])
        assert all(left.find(name).movement is None for name in ("sit down", "take a seat"))
        assert left.find("stand up").movement is not None
