#!/usr/bin/env python3
"""Shows that count_cases counts cases over programs and ranks and never calls a crash a success."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).with_name("count_cases.py")


def gtest(**cases):
    """GoogleTest's JSON for one suite S; each case is passed, failed, skipped or notrun."""
    listed = [{"name": name, "status": "NOTRUN" if outcome == "notrun" else "RUN",
               "result": "SKIPPED" if outcome == "skipped" else "COMPLETED",
               **({"failures": [{"failure": "x"}]} if outcome == "failed" else {})}
              for name, outcome in cases.items()]
    return json.dumps({"testsuites": [{"name": "S", "testsuite": listed}]})


def junit(**tests):
    cases = [f'<testcase name="{name}" status="{status}"/>' for name, status in tests.items()]
    return f"<testsuite>{''.join(cases)}</testsuite>"


class CountCasesTest(unittest.TestCase):
    def expect(self, last_line, exit_code, files, *arguments):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                pathlib.Path(folder, name).write_text(text, encoding="utf-8")
            done = subprocess.run([sys.executable, PROGRAM, folder, *arguments], check=False,
                                  capture_output=True, text=True)
        self.assertEqual(done.stdout.splitlines()[-1], last_line, done.stdout + done.stderr)
        self.assertEqual(done.returncode, exit_code)

    def test_sums_over_programs(self):
        self.expect("3 passed, 0 failed", 0, {
            "unit_base.json": gtest(A="passed", B="passed", C="skipped", D="notrun"),
            "unit_data.json": gtest(A="passed"),
            "ctest.xml": junit(unit_base="run", unit_data="run")})

    def test_a_case_is_counted_once_over_ranks_and_fails_if_any_rank_fails(self):
        self.expect("1 passed, 1 failed", 1, {
            "distributed_np2_rank0.json": gtest(A="passed", B="passed"),
            "distributed_np2_rank1.json": gtest(A="passed", B="failed"),
            "ctest.xml": junit(distributed_np2="fail")})

    def test_a_crash_without_results_is_a_failure(self):
        self.expect("1 passed, 1 failed", 1, {
            "unit_base.json": gtest(A="passed"),
            "ctest.xml": junit(unit_base="run", unit_data="fail")})

    def test_a_bad_exit_after_passed_cases_is_a_failure(self):
        self.expect("1 passed, 1 failed", 1, {
            "unit_base.json": gtest(A="passed"), "ctest.xml": junit(unit_base="fail")})

    def test_cut_off_results_are_a_failure(self):
        self.expect("0 passed, 1 failed", 1, {
            "unit_base.json": gtest(A="passed")[:40], "ctest.xml": junit(unit_base="fail")})

    def test_a_test_that_was_not_run_is_a_failure(self):
        self.expect("0 passed, 1 failed", 1, {"ctest.xml": junit(unit_base="notrun")})

    def test_steps_count(self):
        self.expect("2 passed, 1 failed", 1, {"unit_base.json": gtest(A="passed"),
                                              "ctest.xml": junit(unit_base="run")},
                    "--step", "layout=0", "--step", "other=1")

    def test_nothing_run_is_no_success(self):
        self.expect("0 passed, 0 failed", 1, {"ctest.xml": junit()})


if __name__ == "__main__":
    unittest.main()
