// webdataset tars: listed, decoded in place, hashed as if they lay alone. GNU tar and Python make
// them.

#include "data/media_file.h"

#include <algorithm>

#include "base/files.h"
#include "data/source_list.h"
#include "data/video_writer.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;
using Strings = std::vector<std::string>;

class MediaFileTest : public VideoTest {
 protected:
  void run(const std::string& command) const {
    const std::string line = concat("cd '", folder_.string(), "' && ", command);
    ASSERT_EQ(std::system(line.c_str()), 0) << line;
  }
  // Two samples and a picture; names as webdataset and Python's tarfile have them.
  void make_shard(const std::string& format) const {
    write_mp4(file("in/000.mp4"), make_patches(5, 32, 48), {});
    write_mp4(file(long_name()), make_patches(3, 16, 16), {});
    write_text("in/000.txt", "first\n");
    write_text("in/000.json", R"({"caption": "second", "aesthetic_score": 5})");
    write_text("in/000.cls", "7");
    run(concat("tar --format=", format, " -C in -cf shard.tar ."));
  }
  static std::string long_name() {
    return "in/sub/" + std::string(180, 'k') + "\xc3\xa9.mp4";  // needs an extended header
  }
};

TEST_F(MediaFileTest, ListsDecodesAndHashesMembersInPlace) {
  fs::create_directories(file("in/sub"));
  for (const std::string format : {"gnu", "pax"}) {
    make_shard(format);
    const auto items = list_sources({file("shard.tar")});
    ASSERT_EQ(items.size(), 2u) << format;
    MediaFinder files;
    for (const SourceItem& item : items) {
      const std::string name = item.path.lexically_relative(file("shard.tar")).string();
      const auto media = files.find(item.path);
      ASSERT_TRUE(media) << name;
      EXPECT_EQ(hash_media(*media), hash_file(file("in") / name)) << format;
      const Frames inside = read({.path = item.path}), alone = read({.path = file("in") / name});
      EXPECT_EQ(inside.num_frames, name == "000.mp4" ? 5 : 3);
      EXPECT_EQ(difference(inside.rgb, alone.rgb), 0) << name;
    }
    const auto first = std::find_if(items.begin(), items.end(), [](const SourceItem& item) {
      return item.path.filename() == "000.mp4";
    });
    ASSERT_NE(first, items.end());
    Strings captions = first->captions;
    std::sort(captions.begin(), captions.end());
    EXPECT_EQ(captions, (Strings{"first", "second"}));
    EXPECT_EQ(first->scores.at("aesthetic"), 5);
  }
}

TEST_F(MediaFileTest, SecondSeekAndProbeWorkInsideATar) {
  ffmpeg("-f lavfi -i testsrc2=size=64x64:rate=25:duration=4 -g 10 -pix_fmt yuv420p long.mp4");
  write_text("pad.txt", std::string(5000, 'p'));
  run("tar -cf long.tar pad.txt long.mp4 pad.txt");
  const fs::path inside = file("long.tar") / "long.mp4";
  const DecodeRequest in_tar = {.path = inside, .start_s = 3},
                      alone = {.path = file("long.mp4"), .start_s = 3};
  EXPECT_EQ(difference(read(in_tar).rgb, read(alone).rgb), 0);
  const auto info = reader_.probe(inside);
  ASSERT_FALSE(skipped(info));
  EXPECT_EQ(std::get<VideoInfo>(info).num_frames, 100);
}

TEST_F(MediaFileTest, NamesWhatIsWrongWithATar) {
  write_mp4(file("a.mp4"), make_patches(5, 32, 48), {});
  run("tar -cf good.tar a.mp4");
  EXPECT_EQ(skip_code("good.tar/b.mp4"), "missing_file");
  EXPECT_EQ(skip_code("none.tar/a.mp4"), "missing_file");
  write_text("text.tar", "this is no tar, but long enough to be looked at\n");
  EXPECT_EQ(skip_code("text.tar/a.mp4"), "unreadable");
  EXPECT_THROW(list_sources({file("text.tar")}), DataError);
  run("gzip -k good.tar && mv good.tar.gz packed.tar");
  EXPECT_THROW(list_sources({file("packed.tar")}), DataError);
  run("tar -cf none.tar --files-from /dev/null");
  EXPECT_THROW(list_sources({file("none.tar")}), ConfigError);
}

TEST_F(MediaFileTest, CutTarsKeepTheirWholeMembers) {
  write_mp4(file("a.mp4"), make_patches(5, 32, 48), {});
  write_mp4(file("b.mp4"), make_patches(5, 32, 48), {});
  run("tar -cf whole.tar a.mp4 b.mp4");
  truncate_to("whole.tar", "cut.tar", 50);
  const auto items = list_sources({file("cut.tar")});
  ASSERT_GE(items.size(), 1u);
  EXPECT_EQ(read({.path = items[0].path}).num_frames, 5);
}

TEST_F(MediaFileTest, MembersThatLeaveTheTarAreLeftOut) {
  write_mp4(file("a.mp4"), make_patches(2, 16, 16), {});
  run("tar --transform 's,a.mp4,../../a.mp4,' -P -cf out.tar a.mp4 && tar -rf out.tar a.mp4");
  const auto items = list_sources({file("out.tar")});
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].path, file("out.tar") / "a.mp4");
}

}  // namespace
}  // namespace zoetrope::data
