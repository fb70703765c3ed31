"""When a net counts as guessing."""

import math

from zfnet.stats.chance import at_chance


def test_near_the_entropy_of_the_classes_is_guessing() -> None:
    assert at_chance(math.log(10), 10)
    assert at_chance(0.96 * math.log(10), 10)
    assert not at_chance(0.94 * math.log(10), 10)
    assert not at_chance(0.96 * math.log(10), 10, within=0.01)
