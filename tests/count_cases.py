#!/usr/bin/env python3
"""Counts test cases over all test programs and prints "N passed, N failed" as its last line.

FOLDER holds ctest.xml (ctest --output-junit) and one GoogleTest JSON a program, or one a rank
(NAME_rankN.json). A case that fails on any rank has failed. A program that ctest calls failed
without a failed case (it crashed, hung or left no results) counts as one failed case; a test that
is no GoogleTest program counts as one case, and so does each --step NAME=EXIT_CODE. Exits 1 if a
case failed or none ran.
"""

import argparse
import json
import pathlib
import re
import sys
import xml.etree.ElementTree


def read_cases(folder):
    """{program: {case: "passed" | "failed" | "skipped"}}; the worst of all ranks."""
    worst_first = ["failed", "passed", "skipped"]
    programs = {}
    for path in sorted(folder.glob("*.json")):
        program = re.sub(r"_rank\d+$", "", path.stem)
        cases = programs.setdefault(program, {})
        try:
            suites = json.loads(path.read_text(encoding="utf-8")).get("testsuites", [])
        except ValueError:  # cut off: the program died while writing
            cases[f"results in {path.name} are cut off"] = "failed"
            continue
        for suite in suites:
            for case in suite["testsuite"]:
                if case["status"] != "RUN":
                    continue
                outcome = "failed" if case.get("failures") else "passed"
                if case["result"] == "SKIPPED":
                    outcome = "skipped"
                name = f'{suite["name"]}.{case["name"]}'
                cases[name] = min(outcome, cases.get(name, "skipped"), key=worst_first.index)
    return programs


def read_ctest(folder):
    """{test: passed?} as ctest saw the exit codes."""
    path = folder / "ctest.xml"
    if not path.exists():
        return {}
    root = xml.etree.ElementTree.parse(path).getroot()
    return {case.get("name"): case.get("status") == "run" for case in root.iter("testcase")}


def add_outcomes_of_programs(programs, ended):
    for name, passed in ended.items():
        if not passed and "failed" not in programs.get(name, {}).values():
            cases = programs.setdefault(name, {})
            cases["exited with an error (a failed check, a crash or a time-out)"] = "failed"
        elif passed and name not in programs:
            programs[name] = {name: "passed"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--step", action="append", default=[], metavar="NAME=EXIT_CODE")
    arguments = parser.parse_args()
    programs = read_cases(arguments.folder)
    ended = read_ctest(arguments.folder)
    ended.update((step.split("=")[0], step.split("=")[1] == "0") for step in arguments.step)
    add_outcomes_of_programs(programs, ended)
    outcomes = [o for cases in programs.values() for o in cases.values()]
    for program, cases in sorted(programs.items()):
        for case in sorted(name for name, outcome in cases.items() if outcome == "failed"):
            print(f"failed: {program}: {case}")
    if not outcomes:
        print("no test case ran: is the filter right?")
    if "skipped" in outcomes:
        print(f"{outcomes.count('skipped')} skipped")
    print(f"{outcomes.count('passed')} passed, {outcomes.count('failed')} failed")
    return 0 if outcomes.count("passed") and not outcomes.count("failed") else 1


if __name__ == "__main__":
    sys.exit(main())
