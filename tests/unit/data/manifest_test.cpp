// Lines of the manifest and its neighbours: they survive a round trip, and every bad field is
// named.
#include "data/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::make_clip;
using testing::message_of;
using testing::TempFolder;

TEST(Manifest, ClipSurvivesJson) {
  ClipRecord clip = make_clip("ab12", {"one", "two \"quoted\"\nline"}, "folder/with space.mp4");
  clip.rotation_deg = 90;
  clip.start_s = 1.0 / 3;
  const Json json = to_json(clip);
  EXPECT_EQ(to_json(clip_from_json(parse_json(json.dump(), "test"), "test")), json);
}

TEST(Manifest, UnknownFieldsPass) {
  Json json = to_json(make_clip("ab12", {}));
  json["scores"] = {{"sharpness", 0.5}};
  EXPECT_EQ(clip_from_json(json, "here").id, "ab12");
}

TEST(Manifest, BadFieldsAreNamedWithTheirPlace) {
  const Json good = to_json(make_clip("ab12", {"one"}));
  const auto message = [&](const char* field, const Json& value) {
    Json json = good;
    json[field] = value;
    return message_of<DataError>([&] { clip_from_json(json, "manifest.jsonl:7"); });
  };
  EXPECT_THAT(message("frames", "9"),
              AllOf(HasSubstr("manifest.jsonl:7"), HasSubstr("\"frames\"")));
  EXPECT_THAT(message("frames", 0), HasSubstr("integer >= 1"));
  EXPECT_THAT(message("frames", 2.5), HasSubstr("integer >= 1"));
  EXPECT_THAT(message("width", 1e12), HasSubstr("\"width\""));
  EXPECT_THAT(message("shard", "../../x.h5"), HasSubstr("not a valid name"));
  EXPECT_THAT(message("shard", ""), HasSubstr("not a valid name"));  // though it has an offset
  EXPECT_THAT(message("shard_offset", -8), HasSubstr("\"shard_offset\""));
  EXPECT_THAT(message("shard_offset", 1.5), HasSubstr("\"shard_offset\""));
  EXPECT_THAT(message("id", "a/b"), HasSubstr("not a valid name"));
  EXPECT_THAT(message("end_s", -1), HasSubstr("\"end_s\""));
  EXPECT_THAT(message("start_s", 5), HasSubstr("is before"));
  EXPECT_THAT(message("captions", Json::array()), HasSubstr("0 captions but 1 text_ids"));
  EXPECT_THAT(message("captions", Json::array({3})), HasSubstr("not only strings"));
  Json missing = good;
  missing.erase("fps");
  EXPECT_THAT(message_of<DataError>([&] { clip_from_json(missing, "x"); }),
              HasSubstr("\"fps\" is missing"));
  EXPECT_THAT(message_of<DataError>([&] { clip_from_json(Json(3), "x"); }),
              HasSubstr("expected a JSON object"));
}

TEST(Manifest, ListsSurviveTheDisk) {
  const TempFolder folder;
  const std::vector<Reject> rejects = {{"a.mp4", "too_short", "3 frames"},
                                       {"b.mp4", "truncated", ""}};
  write_rejects(folder / "", rejects);
  EXPECT_EQ(read_rejects(folder / ""), rejects);
  write_shard_list(folder / "", {{"latents/a.h5", 3, 4096, "beef"}});
  EXPECT_EQ(read_shard_list(folder / "")[0].bytes, 4096);
  write_text_index(folder / "", {{"t1", "a.h5", 7, 384, 96}});
  EXPECT_EQ(read_text_index(folder / "")[0].length, 7);
  EXPECT_EQ(read_text_index(folder / "")[0].shard_offset, 96);
}

TEST(Manifest, BadLineIsNamedByFileAndLine) {
  const TempFolder folder;
  write_file_atomically(folder / "shards.jsonl",
                        "{\"file\":\"latents/a.h5\",\"records\":1,\"bytes\":2,\"hash\":\"x\"}\n"
                        "{\"file\":\"../a.h5\",\"records\":1,\"bytes\":2,\"hash\":\"x\"}\n");
  EXPECT_THAT(message_of<DataError>([&] { read_shard_list(folder / ""); }),
              HasSubstr("shards.jsonl:2"));
}

TEST(Manifest, HeadersThatDifferInTheirOriginAreRefused) {
  const Json corpus = testing::make_header();
  Json run = corpus;
  run["program"] = "another version";
  EXPECT_NO_THROW(check_same_origin(corpus, run, "c"));
  run["vae"]["hash"] = "cccc";
  EXPECT_THAT(message_of<ConfigError>([&] { check_same_origin(corpus, run, "c"); }),
              AllOf(HasSubstr("vae.hash = \"aaaa\""), HasSubstr("this run has \"cccc\"")));
  run = corpus;
  run["transform"]["max_pixels"] = 4096;
  EXPECT_THAT(message_of<ConfigError>([&] { check_same_origin(corpus, run, "c"); }),
              AllOf(HasSubstr("transform.max_pixels = no value"), HasSubstr("this run has 4096")));
  run = corpus;
  run.erase("text_encoder");
  EXPECT_THAT(message_of<ConfigError>([&] { check_same_origin(corpus, run, "c"); }),
              HasSubstr("text_encoder"));
}

}  // namespace
}  // namespace zoetrope::data
