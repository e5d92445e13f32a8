from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from psengine_host.bids import (
    DNI_SCALE,
    WEI_PER_NCT,
    BidPolicy,
    bid_by_policy,
    confidence_to_bid,
    dni_to_bid,
    maximum_bid,
    median_bid,
    minimum_bid,
    nct_to_wei,
    rescale_to_bid,
    wei_to_nct,
)
from psengine_host.bounty import BountyRules
from psengine_host.errors import InvalidBid, shown

RULES = BountyRules(min_allowed_bid=62500000000000000, max_allowed_bid=10**18)
PERCENT = BountyRules(min_allowed_bid=0, max_allowed_bid=100)

BIDS = st.integers(0, 2**256 - 1) | st.integers(0, 2 * 10**18)
RANGES = st.tuples(BIDS, BIDS).map(lambda bids: BountyRules(min_allowed_bid=min(bids), max_allowed_bid=max(bids)))
SHARES = st.floats(0, 1) | st.fractions(0, 1)


def refusal(compute, *args: object) -> str:
    with pytest.raises(InvalidBid) as caught:
        compute(*args)
    return str(caught.value)


class TestTheRange:
    def test_minimum_median_and_maximum(self):
        assert minimum_bid(RULES) == 62500000000000000
        assert median_bid(RULES) == 531250000000000000
        assert maximum_bid(RULES) == 1000000000000000000

    def test_the_median_of_an_odd_range_is_rounded_down(self):
        assert median_bid(BountyRules(min_allowed_bid=1, max_allowed_bid=4)) == 2

    @given(RANGES)
    def test_the_median_is_exact_over_every_range(self, rules):
        assert median_bid(rules) == floor(Fraction(rules.min_allowed_bid + rules.max_allowed_bid, 2))


class TestRescaling:
    @pytest.mark.parametrize("value", range(0, 101, 10))
    def test_0_to_100_by_default(self, value):
        assert rescale_to_bid(value, PERCENT) == value
        span = 10**18 - 62500000000000000
        assert rescale_to_bid(value, RULES) == 62500000000000000 + span * value // 100

    def test_any_other_scale(self):
        assert rescale_to_bid(-5, PERCENT, -10, 0) == 50
        assert rescale_to_bid(0.25, PERCENT, 0.0, 1.0) == 25
        assert rescale_to_bid(Decimal("7.5"), PERCENT, Decimal(5), 15) == 25
        assert rescale_to_bid(Fraction(1, 3), PERCENT, 0, 1) == 33

    @given(RANGES, st.integers(-(10**6), 10**6), st.integers(1, 10**6), SHARES)
    @settings(max_examples=500)
    def test_it_is_exact_and_stays_within_every_range(self, rules, low, width, share):
        value = low + Fraction(share) * width
        bid = rescale_to_bid(value, rules, low, low + width)
        assert type(bid) is int
        assert rules.min_allowed_bid <= bid <= rules.max_allowed_bid
        span = rules.max_allowed_bid - rules.min_allowed_bid
        assert bid == rules.min_allowed_bid + floor(Fraction(share) * span)

    @given(
        RANGES,
        st.floats(allow_nan=False, allow_infinity=False),
        st.floats(allow_nan=False, allow_infinity=False),
        SHARES,
    )
    def test_so_it_does_on_every_scale_of_floats(self, rules, one_end, other_end, share):
        low, high = sorted((one_end, other_end))
        value = Fraction(low) + Fraction(share) * (Fraction(high) - Fraction(low))
        if low < high:
            assert rules.min_allowed_bid <= rescale_to_bid(value, rules, low, high) <= rules.max_allowed_bid
        else:
            assert refusal(rescale_to_bid, value, rules, low, high).startswith("low: must be below ")

    @given(RANGES, SHARES, SHARES)
    def test_more_is_never_less(self, rules, one, other):
        low, high = sorted((Fraction(one), Fraction(other)))
        assert rescale_to_bid(low, rules, 0, 1) <= rescale_to_bid(high, rules, 0, 1)

    @given(RANGES)
    def test_the_ends_of_the_scale_are_the_ends_of_the_range(self, rules):
        assert rescale_to_bid(0, rules) == rules.min_allowed_bid
        assert rescale_to_bid(100, rules) == rules.max_allowed_bid

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((101, RULES), "value: must be from 0 to 100, got 101"),
            ((-0.001, RULES), "value: must be from 0 to 100, got -0.001"),
            ((float("nan"), RULES), "value: must be a finite number, got nan"),
            ((float("inf"), RULES), "value: must be a finite number, got inf"),
            ((Decimal("NaN"), RULES), "value: must be a finite number, got Decimal('NaN')"),
            ((Decimal("sNaN"), RULES), "value: must be a finite number, got Decimal('sNaN')"),
            ((Decimal("-Infinity"), RULES), "value: must be a finite number, got Decimal('-Infinity')"),
            ((True, RULES), "value: must be a number, got True"),
            ((None, RULES), "value: must be a number, got None"),
            (([], RULES), "value: must be a number, got []"),
            ((5, RULES, 10, 10), "low: must be below the scale's high end (10), got 10"),
            ((5, RULES, 10, 0), "low: must be below the scale's high end (0), got 10"),
            ((5, RULES, float("nan"), 1), "low: must be a finite number, got nan"),
            ((5, RULES, 0, float("inf")), "high: must be a finite number, got inf"),
            (
                (Decimal("1e999999999"), RULES),
                "value: must lie between 10**-400 and 10**400, got Decimal('1E+999999999')",
            ),
        ],
    )
    def test_what_cannot_be_rescaled(self, arguments, message):
        assert refusal(rescale_to_bid, *arguments) == message


class TestConfidence:
    @given(RANGES, st.floats(0, 1) | st.integers(0, 1))
    @settings(max_examples=500)
    def test_it_is_the_scale_of_0_to_1(self, rules, confidence):
        bid = confidence_to_bid(confidence, rules)
        assert bid == rescale_to_bid(confidence, rules, 0, 1)
        assert rules.min_allowed_bid <= bid <= rules.max_allowed_bid

    @pytest.mark.parametrize(
        ("confidence", "message"),
        [
            (1.0000000000000002, "confidence: must be from 0.0 to 1.0, got 1.0000000000000002"),
            (-5e-324, "confidence: must be from 0.0 to 1.0, got -5e-324"),
            (float("nan"), "confidence: must be from 0.0 to 1.0, got nan"),
            (True, "confidence: must be a number, got True"),
            ("0.5", "confidence: must be a number, got '0.5'"),
            (None, "confidence: must be a number, got None"),
        ],
    )
    def test_what_is_no_confidence(self, confidence, message):
        assert refusal(confidence_to_bid, confidence, RULES) == message


STEPS = [
    # both names of a step, as the table of the README writes them
    ("Almost No Chance / Remote", 5),
    ("Very Unlikely / Highly Improbable", 15),
    ("Unlikely / Improbable", 30),
    ("Roughly Even Chance / Roughly Even Odds", 50),
    ("Likely / Probable", 70),
    ("Very Likely / Highly Probable", 85),
    ("Almost Certain / Nearly Certain", 95),
]


class TestTheDniScale:
    def test_it_has_the_seven_steps_with_two_names_each(self):
        assert dict(DNI_SCALE) == {name.lower(): step for names, step in STEPS for name in names.split(" / ")}

    @pytest.mark.parametrize(("names", "step"), STEPS)
    @pytest.mark.parametrize(
        "written",
        [
            str,
            str.lower,
            str.upper,
            lambda name: name.replace(" ", "-"),
            lambda name: name.replace(" ", "_").lower(),
            lambda name: f"  {name.replace(' ', '   ')}\t",
        ],
    )
    def test_each_name_in_any_spelling(self, names, step, written):
        for name in names.split(" / "):
            assert dni_to_bid(written(name), PERCENT) == step
            assert dni_to_bid(written(name), RULES) == rescale_to_bid(step, RULES)

    @pytest.mark.parametrize(("names", "step"), STEPS)
    def test_both_names_as_the_table_writes_them(self, names, step):
        assert dni_to_bid(names, PERCENT) == step
        assert dni_to_bid(names.replace(" / ", "/"), PERCENT) == step

    @pytest.mark.parametrize(
        ("variant", "step"),
        [
            ("improbably", 30),
            ("probably", 70),
            ("almost certainly", 95),
            ("very improbable", 15),
            ("very probable", 85),
        ],
    )
    def test_the_directives_other_spellings(self, variant, step):
        assert dni_to_bid(variant, PERCENT) == step

    @pytest.mark.parametrize(
        "term", ["Not Specified", "not specified", "NOT_SPECIFIED", "Not Specified / Not Specified"]
    )
    def test_not_specified_gives_no_bid(self, term):
        assert dni_to_bid(term, RULES) is None

    @pytest.mark.parametrize(
        ("term", "message"),
        [
            ("likly", "term: is no term of the scale; did you mean 'likely'?, got 'likly'"),
            ("", "term: is no term of the scale, got ''"),
            ("likely/", "term: is no term of the scale, got 'likely/'"),
            ("likely / remote", "term: names more than one step of the scale, got 'likely / remote'"),
            ("likely / not specified", "term: names more than one step of the scale, got 'likely / not specified'"),
            (70, "term: must be a string, got 70"),
            (None, "term: must be a string, got None"),
        ],
    )
    def test_what_is_no_term(self, term, message):
        assert refusal(dni_to_bid, term, RULES) == message

    def test_the_scale_cannot_be_changed(self):
        with pytest.raises(TypeError):
            DNI_SCALE["certain"] = 100


class TestPolicies:
    @pytest.mark.parametrize(
        ("policy", "confidence", "bid"),
        [
            (BidPolicy.CONFIDENCE, 0.25, 25),
            (BidPolicy.CONFIDENCE, None, 0),
            (BidPolicy.MINIMUM, 0.25, 0),
            (BidPolicy.MEDIAN, 0.25, 50),
            (BidPolicy.MAXIMUM, 0.25, 100),
            (BidPolicy.MAXIMUM, None, 100),
        ],
    )
    def test_each(self, policy, confidence, bid):
        assert bid_by_policy(policy, confidence, PERCENT) == bid

    @given(st.sampled_from(BidPolicy), st.none() | st.floats(0, 1), RANGES)
    def test_none_leaves_the_range(self, policy, confidence, rules):
        assert rules.min_allowed_bid <= bid_by_policy(policy, confidence, rules) <= rules.max_allowed_bid

    def test_an_unknown_policy_bids_nothing(self):
        message = "policy: must be a BidPolicy (confidence, minimum, median, maximum), got 'all in'"
        assert refusal(bid_by_policy, "all in", 0.5, RULES) == message


class TestNct:
    @pytest.mark.parametrize(
        ("nct", "wei"),
        [
            (0, 0),
            (1, 10**18),
            ("0.0625", 62500000000000000),
            (0.0625, 62500000000000000),
            (0.9999, 999900000000000000),
            (0.1, 10**17),
            ("0.000000000000000001", 1),
            ("1e-18", 1),
            (Decimal("1.000000000000000001"), 10**18 + 1),
            (Fraction(1, 8), 125000000000000000),
            ("115792089237316195423570985008687907853269984665640564039457.584007913129639935", 2**256 - 1),
        ],
    )
    def test_to_wei_by_the_digits(self, nct, wei):
        assert nct_to_wei(nct) == wei

    @given(BIDS)
    def test_there_and_back_is_exact(self, wei):
        nct = wei_to_nct(wei)
        assert nct_to_wei(nct) == wei
        assert nct_to_wei(str(nct)) == wei
        assert Fraction(nct) == Fraction(wei, WEI_PER_NCT)

    def test_a_float_of_another_library_is_taken_by_its_digits(self):
        class Other(float):
            def __repr__(self):
                return f"other.float64({float.__repr__(self)})"

        assert nct_to_wei(Other(0.1)) == 10**17

    @pytest.mark.parametrize(
        ("nct", "message"),
        [
            (-1, "nct: must not be negative, got -1"),
            ("0.0000000000000000001", "nct: is finer than one wei (10**-18 NCT), got '0.0000000000000000001'"),
            (Fraction(1, 3), "nct: is finer than one wei (10**-18 NCT), got Fraction(1, 3)"),
            ("1 NCT", "nct: must be a finite number, got '1 NCT'"),
            ("", "nct: must be a finite number, got ''"),
            ("NaN", "nct: must be a finite number, got 'NaN'"),
            (float("nan"), "nct: must be a finite number, got nan"),
            (float("inf"), "nct: must be a finite number, got inf"),
            (True, "nct: must be a number, got True"),
            (None, "nct: must be a number, got None"),
            ("1e60", "nct: must be at most 2**256 - 1 wei, got '1e60'"),
            ("1e999999999", "nct: must lie between 10**-400 and 10**400, got '1e999999999'"),
            ("1e-999999999", "nct: must lie between 10**-400 and 10**400, got '1e-999999999'"),
            ("0." + "1" * 500, f"nct: must lie between 10**-400 and 10**400, got '0.{'1' * 118}'… (502 characters)"),
        ],
    )
    def test_what_is_no_amount(self, nct, message):
        assert refusal(nct_to_wei, nct) == message

    @pytest.mark.parametrize(
        ("wei", "text"),
        [
            (-1, "-1"),
            (True, "True"),
            (1.0, "1.0"),
            ("1", "'1'"),
            (2**256, str(2**256)),
            (10**5000, "an integer of 16610 bits"),
        ],
        ids=lambda value: shown(value)[:30],
    )
    def test_what_is_no_wei(self, wei, text):
        assert refusal(wei_to_nct, wei) == f"wei: must be an integer from 0 to 2**256 - 1, got {text}"
