"""Run a chat template in a process of its own with little time and memory, so that it can be stopped.

This is a program: it reads JSON from standard input (``template``, ``variables``, ``conversations``) and prints the
length of the longest rendered text. Exceptions of the template are ignored here. They are reported when the prompts are
rendered, with the functions that transformers adds.
"""

from __future__ import annotations

import json
import resource
import sys

SECONDS, BYTES = 1, 1 << 30


def main() -> None:
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """``{% generation %}``, which marks the answer in transformers; here only its body is rendered."""

        tags = frozenset({"generation"})  # type: ignore[assignment]

        def parse(self, parser):  # type: ignore[no-untyped-def]
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return nodes.Scope(body, lineno=line)

    given = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda x, **_: json.dumps(x, ensure_ascii=False)
    environment.globals["strftime_now"] = lambda form: form
    lengths = [0]
    for messages in given["conversations"]:
        try:
            template = environment.from_string(given["template"])
            lengths.append(len(template.render(messages=messages, **given["variables"])))
        except MemoryError:
            raise
        except Exception:  # raise_exception among them
            continue
    print(max(lengths))


if __name__ == "__main__":
    main()
