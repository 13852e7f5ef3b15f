#!/usr/bin/env python3
"""Shows that each rule of check_layout fires on a tree that breaks it, and a good tree passes."""

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import check_layout  # pylint: disable=wrong-import-position

HEADER = "// Says what it does.\n#pragma once\n"
SOURCE = "// Says what it does.\n"
GOOD = {
    "base/error.h": HEADER,
    "launch/mesh.cpp": SOURCE + '#include <mpi.h>\n#include "base/error.h"\n',
    "data/clip.h": HEADER + '#include "base/error.h"\n',
    "data/reader.cpp": SOURCE + "#include <libavformat/avformat.h>\n#include <hdf5.h>\n",
    "model/dit.h": HEADER + '#include <ATen/core/Tensor.h>\n#include "base/error.h"\n',
    "model/parallel/ring.cpp": SOURCE + '#include "model/dit.h"\n',
    "train/step.cpp": SOURCE + '#include "data/clip.h"\n#include "model/dit.h"\n',
    "tests/unit/model/dit_test.cpp": SOURCE + "#include <ATen/ops/add.h>\n",
    "tests/parity/dit_test.cpp": SOURCE + '#include <ATen/ops/add.h>\n#include "data/clip.h"\n',
    "model/pretrained/dit/model.safetensors": "x" * 600_000,
    "tests/run": "#!/bin/sh\n# Runs the tests.\n",
}


def findings_for(files):
    """What check_layout says about GOOD with `files` added."""
    with tempfile.TemporaryDirectory() as root:
        for path, text in {**GOOD, **files}.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        return [str(finding) for finding in check_layout.check_tree(root)]


class CheckLayoutTest(unittest.TestCase):
    def expect_one(self, path, text, place_and_words):
        findings = findings_for({path: text})
        self.assertEqual(len(findings), 1, findings)
        for words in (path, *place_and_words):
            self.assertIn(words, findings[0])

    def test_good_tree_passes(self):
        self.assertEqual(findings_for({}), [])

    def test_each_wrong_direction_is_found(self):
        for path, target in [("base/a.cpp", "data/clip.h"), ("launch/a.cpp", "data/clip.h"),
                             ("data/a.cpp", "model/dit.h"), ("model/a.cpp", "data/clip.h"),
                             ("tests/unit/data/a_test.cpp", "model/dit.h")]:
            with self.subTest(path=path, target=target):
                self.expect_one(path, f'{SOURCE}#include "{target}"\n', [":2:", "one way"])

    def test_torch_outside_its_rooms(self):
        for path in ["base/a.cpp", "data/a.cpp", "launch/a.cpp", "tests/unit/data/a_test.cpp"]:
            with self.subTest(path=path):
                self.expect_one(path, SOURCE + "#include <c10/core/Device.h>\n", [":2:", "torch"])

    def test_other_libraries_outside_their_rooms(self):
        for path, header in [("model/a.cpp", "mpi.h"), ("train/a.cpp", "libavutil/frame.h"),
                             ("train/b.cpp", "hdf5.h"), ("model/b.cpp", "spdlog/spdlog.h")]:
            with self.subTest(path=path):
                self.expect_one(path, f"{SOURCE}#include <{header}>\n", [":2:", header])

    def test_too_broad_torch_headers(self):
        for header in ["torch/torch.h", "ATen/ATen.h", "torch/nn/module.h"]:
            with self.subTest(header=header):
                self.expect_one("model/a.cpp", f"{SOURCE}#include <{header}>\n", [":2:", header])

    def test_include_not_from_the_root(self):
        self.expect_one("data/a.cpp", SOURCE + '#include "clip.h"\n', [":2:", "below the root"])

    def test_own_header_in_angle_brackets(self):
        self.expect_one("data/a.cpp", SOURCE + "#include <data/clip.h>\n", [":2:", "own header"])

    def test_sub_folder_of_a_sub_folder(self):
        self.expect_one("model/parallel/ring/a.cpp", SOURCE, ["one level"])

    def test_long_files(self):
        self.expect_one("data/a.cpp", SOURCE * 501, [":501:", "501 lines"])
        self.expect_one("data/a.h", HEADER + "//\n" * 249, [":251:", "251 lines"])

    def test_long_line(self):
        self.expect_one("data/a.cpp", SOURCE + "// " + "x" * 98 + "\n", [":2:", "101 columns"])
        self.expect_one("tests/go", "#!/bin/sh\n# " + "x" * 99 + "\n", [":2:", "101 columns"])

    def test_missing_header_comment(self):
        self.expect_one("data/a.cpp", "int x;\n", [":1:", "comment"])
        self.expect_one("tools/go", "#!/bin/sh\necho\n", [":1:", "comment"])

    def test_missing_pragma_once(self):
        self.expect_one("data/a.h", SOURCE, [":1:", "#pragma once"])

    def test_unfinished_mark(self):
        for mark in ["TO" "DO", "FIX" "ME"]:
            with self.subTest(mark=mark):
                self.expect_one("data/a.cpp", f"{SOURCE}// {mark}: later\n", [":2:", mark])

    def test_non_ascii(self):
        self.expect_one("data/a.cpp", SOURCE + "// caf\u00e9\n", [":2:", "U+00E9"])

    def test_large_file(self):
        self.expect_one("tests/golden/a.bin", "x" * 500_001, [":1:", "500001 bytes"])

    def test_vague_name(self):
        self.expect_one("data/string_utils.cpp", SOURCE, ["name"])


if __name__ == "__main__":
    unittest.main()
