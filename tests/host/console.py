"""What the page's console says that is not ours to mend; test_page_console.py takes anything else for an error."""

from __future__ import annotations

import re

# Of the host and its page, each as it was met.
KNOWN = [
    r"status of 404 .*/user\.css$",  # a new user has none of these
    r"status of 404 .*/api/userdata\?dir=(workflows|subgraphs)&",
    r"status of 404 .*/api/userdata/(user\.css|comfy\.templates\.json)",
    r"status of 400 .*/api/prompt$",  # a prompt that a test made to be refused
    r"^PromptExecutionError: Prompt execution failed",
    r"status of 404 .*/favicon\.ico$",
    r"^Attempted to cleanup event listeners for graph that was never set up",
    r"^ComfyApp graph accessed before initialization",
    r"(Connecting to|Fetch API cannot load) '?https://(huggingface\.co|api\.comfy\.org)/.*Content Security Policy",  # sizes of files that are missing
    # of a page that is newer than its server
    r"(Connecting to|Fetch API cannot load) '?data:application/wasm;.*Content Security Policy",
    r"^Failed to fetch\s+TypeError: Failed to fetch\s+at .*/assets/vendor-three-",
    r"status of 400 .*/api/jobs\?",
    r"^\[Jobs API\] Failed to fetch jobs: 400",
    r"^Error fetching file size: TypeError: Failed to fetch",
]
OURS = re.compile(r"wanattn", re.IGNORECASE)


def watch(page, problems: list[str]) -> None:
    """Collects the errors of a page's console and scripts, of pages that it opens too, but for those that are known of the host."""
    page.on("pageerror", lambda error: problems.extend(unknown(f"{error}\n{error.stack}")))
    page.on("console", lambda message: problems.extend(of_console(message)))
    page.on("popup", lambda opened: watch(opened, problems))


def ours(problems: list[str]) -> list[str]:
    return [problem for problem in problems if OURS.search(problem)]


def of_console(message) -> list[str]:
    line = f"{message.text} {message.location.get('url', '')}"
    return unknown(line) if message.type == "error" else []


def unknown(line: str) -> list[str]:
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", line)
    known = any(re.search(pattern, text, re.DOTALL) for pattern in KNOWN)
    return [] if known else [text]
