"""What is wrong with a knob, in our words: those of jsonargparse are about Python's types."""

import re

from rsrl_ray.core.errors import one_line

TYPES_IN_WORDS = {
    "PositiveInt": "a whole number, 1 or more",
    "NonNegativeInt": "a whole number, 0 or more",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number, 0 or more",
    "ClosedUnitInterval": "a number from 0 to 1",
    "HalfShare": "a number from 0 to 0.5",
    "Momentum": "a number from 0 to below 1",
    "Name": "letters, digits, '.', '_' and '-', a letter or a digit first",
    "bool": "true or false",
    "dict": "settings, such as {name: value}",
    "list": "a list",
    "str": "a text",
    "NoneType": "null",
}
_VALUES = (  # the value that was given, most exact first
    r"Given value: (.*)$",
    r"Got value: (.*)$",
    r"Not of type \w+: (.*?) ?(?:does not|not an integer)",
    r"(?:with base 10|to float): (.*)$",
    r"not '(NoneType)'$",
)
_CHOICES = re.compile(r"Literal\[(.*?)\]")
_TYPE = re.compile(r"(?:Not of type |<class ')(\w+)")
_PHRASES = (
    (r"Option '(.*)' is not accepted", r"\1: there is no such knob"),
    (r"Group '(.*)' does not accept option '(.*)'", r"\1.\2: there is no such knob"),
    (r"the following arguments are required: (.*)", r"\1: missing; each experiment needs it"),
    (r"unrecognized arguments: (.*)", r"\1: there is no such knob or switch"),
    (r'Parser key "([^"]+)": Unable to load config (\S+).*', r"\1: \2; give its knobs by their names"),
    (r'Parser key "([^"]+)": invalid literal for int\(\) with base 10: (.*)', r"\1: \2; give a whole number"),
    (r"argument (--\S+): expected one argument", r"\1: give a value behind it"),
)


def in_words(error: Exception) -> str:
    """The error in one line: which knob, what was given, what may be given."""
    said = one_line(error)
    for theirs, ours in _PHRASES:
        said = re.sub(f"^{theirs}$", ours, said)
    of_knob = re.fullmatch(r'Parser key "([^"]+)": (.*)', said)
    if of_knob is None:
        return said
    knob, cause = of_knob.groups()
    value = next((found[1] for pattern in _VALUES if (found := re.search(pattern, cause))), None)
    asked = cause.partition("Given value type")[0]
    choices = [f"one of {choice}" if "," in choice else choice for choice in _CHOICES.findall(asked)]
    kinds = [*(TYPES_IN_WORDS[kind] for kind in _TYPE.findall(asked) if kind in TYPES_IN_WORDS), *choices]
    kinds.sort(key=lambda kind: kind == TYPES_IN_WORDS["NoneType"])
    if value is None or not kinds:
        return f"{knob}: {cause}"
    given = TYPES_IN_WORDS.get(value, value) or "''"
    return f"{knob}: {given}; give {', or '.join(dict.fromkeys(kinds))}"
