"""All kinds of input that are fuzzed, by name."""

from tests.fuzz.targets import actions, bodies, config, cursors, forwarded, frames, requests, topics

TARGETS = {
    module.TARGET.name: module.TARGET
    for module in (frames, actions, cursors, topics, bodies, config, requests, forwarded)
}
