"""What stands in a text without being what the person says: quotations and set phrases."""

import re

SET_PHRASES = re.compile(
    r"\b(?:thank (?:you|u|ya)"
    r"|(?:appreciate|appreciated|great|nice|better|prefer|glad|grateful|best)"
    r"(?: it)?(?: (?:very|so) much| a lot)? if (?:you|u|yall)d?(?: would| could| did| will)?"
    r"|(?:reply|text|txt|send|respond|type|answer|responda|envie)"
    r"(?: with| back)? (?:stop|end|quit|cancel|unsubscribe|start|help|alto)"
    r"(?: or (?:stop|end|quit|cancel|unsubscribe))? (?:to|for|para) "
    r"(?:opt out|optout|unsubscribe|stop|end|cancel|quit|be removed|help|info|cancelar)"
    r"(?: (?:at any time|anytime|texts?|messages?))?)\b"
)
"""Thanks, a wish put politely ("it would be great if you"), and the sentence that every campaign
carries, quoted: none of them says anything."""

REACTION = re.compile(
    r"^\s*(?:(?:liked|loved|disliked|laughed at|emphasi[sz]ed|questioned|reacted .{1,40} to"
    r"|removed an? .{1,40} from|le gusto|le encanto|no le gusto|a .{1,40} le gusto|\S{1,12} to)"
    r"\s+[\"\u201c\u00ab\u2018'])",
    re.IGNORECASE,
)
"""How telephones write a reaction to a text: the quoted words are ours, not the person's."""
