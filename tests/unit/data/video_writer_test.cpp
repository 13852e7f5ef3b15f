// What is written comes back: counts, sizes, colours, tags, the same bytes each time.

#include "data/video_writer.h"

#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

class VideoWriterTest : public VideoTest {
 protected:
  std::string ffprobe(const std::string& entries, const std::string& name) const {
    const std::string command =
        concat("cd '", folder_.string(), "' && ffprobe -v error -select_streams v:0 ",
               "-count_frames -show_entries ", entries, " -of default=nokey=1:noprint_wrappers=1 ",
               name, " > probe.txt");
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    std::ifstream in(file("probe.txt"));
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }

  // The middle of each patch of each frame, against what was written.
  int patch_error(const Frames& frames) const {
    int most = 0;
    for (int index = 0; index < frames.num_frames; ++index) {
      for (const int x : {frames.width / 4, frames.width * 3 / 4}) {
        for (const int y : {frames.height / 4, frames.height * 3 / 4}) {
          const Rgb& wanted = patch_colours()[patch_at(x, y, frames.width, frames.height, index)];
          most = std::max(most, difference(pixel_of(frames, index, x, y), wanted));
        }
      }
    }
    return most;
  }
};

TEST_F(VideoWriterTest, CountSizeAndColoursComeBack) {
  for (const int num_frames : {1, 2, 17, 50}) {
    write_mp4(file("clip.mp4"), make_patches(num_frames, 64, 96), {.fps = 16});
    const Frames frames = read_whole("clip.mp4");
    EXPECT_EQ(frames.num_frames, num_frames);
    EXPECT_EQ(frames.width, 96);
    EXPECT_EQ(frames.height, 64);
    EXPECT_DOUBLE_EQ(frames.fps, 16);
    EXPECT_LE(patch_error(frames), 4);
    for (int index = 0; index < num_frames; ++index) {
      EXPECT_NEAR(frames.pts_s[index], index / 16.0, 1e-4);
    }
  }
}

TEST_F(VideoWriterTest, LosslessKeepsColoursToRounding) {
  write_mp4(file("clip.mp4"), make_patches(4, 64, 64), {.crf = 0});
  EXPECT_LE(patch_error(read_whole("clip.mp4")), 2);
}

TEST_F(VideoWriterTest, TagsAreBt709LimitedForOthersToRead) {
  write_mp4(file("clip.mp4"), make_patches(9, 64, 96), {.fps = 30000.0 / 1001});
  EXPECT_EQ(
      ffprobe("stream=codec_name,pix_fmt,color_range,color_space,color_transfer,color_primaries,"
              "r_frame_rate,nb_read_frames",
              "clip.mp4"),
      "h264\nyuv420p\ntv\nbt709\nbt709\nbt709\n30000/1001\n9\n");
  // FFmpeg's own reading of it shows the same patches.
  ffmpeg("-i clip.mp4 -pix_fmt rgb24 -f rawvideo seen.rgb");
  Frames seen = make_patches(9, 64, 96);
  seen.rgb = bytes_of("seen.rgb");
  ASSERT_EQ(seen.rgb.size(), 9 * seen.frame_bytes());
  EXPECT_LE(patch_error(seen), 5);
}

TEST_F(VideoWriterTest, SameFramesGiveTheSameBytes) {
  const Frames frames = make_patches(20, 64, 96);
  write_mp4(file("one.mp4"), frames, {});
  write_mp4(file("two.mp4"), frames, {});
  EXPECT_EQ(bytes_of("one.mp4"), bytes_of("two.mp4"));
  write_mp4(file("other.mp4"), frames, {.crf = 30});
  EXPECT_NE(bytes_of("one.mp4"), bytes_of("other.mp4"));
}

TEST_F(VideoWriterTest, IndexComesFirstSoThatPlayersCanStart) {
  write_mp4(file("clip.mp4"), make_patches(20, 64, 96), {});
  const std::vector<std::uint8_t> bytes = bytes_of("clip.mp4");
  const std::string text(bytes.begin(), bytes.end());
  ASSERT_NE(text.find("moov"), std::string::npos);
  EXPECT_LT(text.find("moov"), text.find("mdat"));
}

TEST_F(VideoWriterTest, MetadataIsReadable) {
  write_mp4(file("clip.mp4"), make_patches(3, 32, 32), {.metadata = {{"comment", "a red ball"}}});
  EXPECT_EQ(ffprobe("format_tags=comment", "clip.mp4"), "a red ball\n");
  write_mp4(file("clip.mp4"), make_patches(3, 32, 32),
            {.metadata = {{"comment", "a red ball"}, {"zoetrope_seed", "7"}}});
  EXPECT_NE(ffprobe("format_tags", "clip.mp4").find("a red ball"), std::string::npos);
  EXPECT_EQ(ffprobe("format_tags=zoetrope_seed", "clip.mp4"), "7\n");
}

TEST_F(VideoWriterTest, WritesMpeg4WithoutX264) {
  write_mp4(file("clip.mp4"), make_patches(12, 64, 96), {.crf = 8, .codec = "mpeg4"});
  EXPECT_EQ(ffprobe("stream=codec_name,nb_read_frames", "clip.mp4"), "mpeg4\n12\n");
  EXPECT_LE(patch_error(read_whole("clip.mp4")), 6);
  EXPECT_THROW(write_mp4(file("x.mp4"), make_patches(2, 32, 32), {.codec = "no_such"}),
               ConfigError);
}

TEST_F(VideoWriterTest, RefusesWhatItCannotWriteAndLeavesNothing) {
  EXPECT_THROW(write_mp4(file("odd.mp4"), make_patches(2, 33, 32), {}), Error);
  EXPECT_THROW(write_mp4(file("none.mp4"), Frames{}, {}), Error);
  EXPECT_THROW(write_mp4(file("rate.mp4"), make_patches(2, 32, 32), {.fps = 0}), ConfigError);
  EXPECT_THROW(write_mp4(file("no/such/folder.mp4"), make_patches(2, 32, 32), {}), Error);
  EXPECT_TRUE(fs::is_empty(folder_));
}

TEST_F(VideoWriterTest, PngComesBackExactly) {
  Frames picture = make_patches(1, 37, 53);
  for (std::size_t index = 0; index < picture.rgb.size(); ++index) {
    picture.rgb[index] = static_cast<std::uint8_t>(index * 31 + index / 7);
  }
  write_png(file("picture.png"), picture.rgb.data(), picture.height, picture.width);
  const Frames back = read_png(file("picture.png"));
  EXPECT_EQ(back.width, 53);
  EXPECT_EQ(back.height, 37);
  EXPECT_EQ(back.num_frames, 1);
  EXPECT_EQ(back.rgb, picture.rgb);
  EXPECT_EQ(read_whole("picture.png").rgb, picture.rgb);  // the decoder process agrees
}

TEST_F(VideoWriterTest, BrokenPngIsADataError) {
  write_png(file("picture.png"), make_patches(1, 32, 32).rgb.data(), 32, 32);
  truncate_to("picture.png", "half.png", 50);
  write_text("text.png", "no picture");
  EXPECT_THROW(read_png(file("half.png")), DataError);
  EXPECT_THROW(read_png(file("text.png")), DataError);
  EXPECT_THROW(read_png(file("missing.png")), ConfigError);
}

TEST_F(VideoWriterTest, ClipGetsTheFittingExtension) {
  EXPECT_EQ(write_clip(file("one"), make_patches(1, 33, 32), {}), file("one.png"));
  EXPECT_EQ(write_clip(file("many"), make_patches(5, 32, 32), {}), file("many.mp4"));
  EXPECT_EQ(write_clip(file("named.mp4"), make_patches(1, 32, 32), {}), file("named.mp4"));
  EXPECT_EQ(read_whole("many.mp4").num_frames, 5);
  EXPECT_THROW(write_clip(file("many.png"), make_patches(5, 32, 32), {}), ConfigError);
  EXPECT_THROW(write_clip(file("many.avi"), make_patches(5, 32, 32), {}), ConfigError);
}

}  // namespace
}  // namespace zoetrope::data
