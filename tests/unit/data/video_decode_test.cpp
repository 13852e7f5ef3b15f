// Which pictures a request gives and whether their colours are right, against FFmpeg's own program.

#include <cmath>
#include <map>

#include "data/video_writer.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

// swscale with the settings that the reader promises; chroma at the left as H.264 and MPEG-2 have
// it.
constexpr const char* kReferenceFlags =
    "-sws_flags bicubic+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact -pix_fmt rgb24 "
    "-vsync passthrough -f rawvideo reference.rgb";
constexpr const char* kLeftChroma = "-vf scale=in_h_chr_pos=0:in_v_chr_pos=128 ";

class VideoDecodeTest : public VideoTest {
 protected:
  // Pictures whose grey level tells their number: 8 * (n + 1), at the given times in milliseconds.
  void make_timed(const std::string& name, const std::vector<int>& times_ms) {
    std::string expression = concat(times_ms.back());
    for (std::size_t index = times_ms.size() - 1; index-- > 0;) {
      expression = concat("if(eq(N\\,", index, ")\\,", times_ms[index], "\\,", expression, ")");
    }
    ffmpeg(concat(
        "-f lavfi -i color=black:size=32x32:rate=1000 -vf \"geq=lum='16+8*(N+1)':cb=128:cr=128,"
        "settb=1/1000,setpts='",
        expression, "'\" -frames:v ", times_ms.size(),
        " -vsync passthrough -enc_time_base 1:1000 -c:v libx264 -qp 0 -pix_fmt yuv420p ", name));
  }
  static int number_of(const Frames& frames, int index) {
    const double luma = frames.frame(index)[0] * 219.0 / 255;
    return static_cast<int>(std::lround(luma / 8)) - 1;
  }
  static std::vector<int> numbers_of(const Frames& frames) {
    std::vector<int> numbers;
    for (int index = 0; index < frames.num_frames; ++index)
      numbers.push_back(number_of(frames, index));
    return numbers;
  }
};

TEST_F(VideoDecodeTest, ColoursEqualFfmpegsWhateverTheFormat) {
  struct Case {
    const char* name;
    const char* make;
    const char* reference;
  };
  const std::vector<Case> cases = {
      {"h264_420.mp4", "-pix_fmt yuv420p -c:v libx264", kLeftChroma},
      {"h264_444.mp4", "-pix_fmt yuv444p -c:v libx264", ""},
      {"h264_10bit.mkv", "-pix_fmt yuv420p10le -c:v libx264", kLeftChroma},
      {"h264_709.mp4",
       "-vf scale=out_color_matrix=bt709 -colorspace bt709 -pix_fmt yuv420p -c:v libx264",
       kLeftChroma},
      {"h264_full.mp4", "-vf scale=out_range=full -color_range pc -pix_fmt yuv420p -c:v libx264",
       kLeftChroma},
      {"mpeg2.mpg", "-c:v mpeg2video -q:v 2", kLeftChroma},
      {"mpeg4.avi", "-c:v mpeg4 -q:v 2", kLeftChroma},
      {"mjpeg.avi", "-c:v mjpeg -q:v 2", ""},
      {"vp9.webm", "-c:v libvpx-vp9 -crf 10 -b:v 0", ""},
      {"ffv1_rgb.mkv", "-c:v ffv1 -pix_fmt bgr0", ""},
      {"ffv1_gray.mkv", "-c:v ffv1 -pix_fmt gray", ""},
      {"moving.gif", "", ""},
      {"still.png", "-frames:v 1", ""},
      {"still.jpg", "-frames:v 1", ""},
      {"still.bmp", "-frames:v 1", ""},
  };
  for (const Case& tried : cases) {
    make_pattern(concat(tried.make, " ", tried.name));
    ffmpeg(concat("-i ", tried.name, " ", tried.reference, kReferenceFlags));
    const Frames frames = read_whole(tried.name);
    const int error = difference(frames.rgb, bytes_of("reference.rgb"));
    EXPECT_GE(error, 0) << tried.name << ": " << frames.num_frames << " frames";
    EXPECT_LE(error, 2) << tried.name;
  }
}

TEST_F(VideoDecodeTest, MatrixFollowsTheTagElseTheHeight) {
  // The same YUV bytes, read by BT.601 and BT.709.
  auto red_of = [&](const std::string& arguments, const std::string& name) {
    ffmpeg(concat("-f lavfi -i color=black:size=", arguments, " ", name));
    return pixel_of(read({.path = file(name), .max_frames = 1}), 0, 8, 8);
  };
  const std::string yuv =
      ":rate=5:duration=1 -vf \"geq=lum=81:cb=90:cr=240\" -pix_fmt yuv420p -c:v libx264 -qp 0";
  const Rgb bt601_red = {254, 0, 0};  // Y 81, Cb 90, Cr 240
  const Rgb bt709_red = {255, 25, 0};
  EXPECT_LE(difference(red_of("64x64" + yuv, "small.mp4"), bt601_red), 2);
  EXPECT_LE(difference(red_of("64x64" + yuv + " -colorspace bt709", "tagged.mp4"), bt709_red), 2);
  EXPECT_LE(difference(red_of("16x576" + yuv, "sd.mp4"), bt601_red), 2);
  EXPECT_LE(difference(red_of("16x578" + yuv, "hd.mp4"), bt709_red), 2);
}

TEST_F(VideoDecodeTest, LimitedGrayIsStretched) {
  // The same 8-bit levels, once tagged limited and once full.
  const std::string make =
      "-f lavfi -i color=black:size=32x32:rate=5:duration=1,format=gray "
      "-vf geq=lum=126 -pix_fmt gray -c:v ffv1 ";
  ffmpeg(make + "-color_range tv limited.mkv");
  ffmpeg(make + "-color_range pc full.mkv");
  const int full = pixel_of(read_whole("full.mkv"), 0, 8, 8)[0];
  const int limited = pixel_of(read_whole("limited.mkv"), 0, 8, 8)[0];
  EXPECT_NEAR(limited, (full - 16) * 255.0 / 219, 1);
}

TEST_F(VideoDecodeTest, KeepsEveryFrameAtItsOwnTime) {
  const std::vector<int> times_ms = {0, 33, 66, 251, 284, 317, 1500, 1533};
  for (const std::string name : {"timed.mp4", "timed.mkv"}) {
    make_timed(name, times_ms);
    const Frames frames = read_whole(name);
    EXPECT_EQ(numbers_of(frames), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7})) << name;
    for (int index = 0; index < frames.num_frames; ++index) {
      EXPECT_NEAR(frames.pts_s[index], times_ms[index] / 1000.0, 0.0011) << name;
    }
    EXPECT_NEAR(frames.fps, 7 / 1.533, 0.1) << name;
  }
}

TEST_F(VideoDecodeTest, SamplesVariableRateByTime) {
  const std::vector<int> times_ms = {0, 33, 66, 251, 284, 317, 1500, 1533};
  make_timed("timed.mkv", times_ms);
  const Frames frames = read({.path = file("timed.mkv"), .fps = 10});
  EXPECT_EQ(frames.fps, 10);
  // At 0, 0.1, ... the picture on screen; the gap up to 1.5 s repeats the one before it.
  EXPECT_EQ(numbers_of(frames), (std::vector<int>{0, 2, 2, 4, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 6}));
}

TEST_F(VideoDecodeTest, EveryGridTimeIsWithinHalfAPeriod) {
  std::vector<int> times_ms;  // 30 fps with jitter and dropped pictures
  for (int index = 0, time = 0; index < 24; ++index) {
    times_ms.push_back(time);
    time += 33 + (index * 7) % 5 + (index % 6 == 5 ? 33 : 0);
  }
  make_timed("jitter.mkv", times_ms);
  const double fps = 12;
  const Frames frames = read({.path = file("jitter.mkv"), .fps = fps});
  ASSERT_GE(frames.num_frames, 11);
  for (int index = 0; index < frames.num_frames; ++index) {
    EXPECT_NEAR(frames.pts_s[index], index / fps, 0.5 / fps) << "frame " << index;
    EXPECT_NEAR(frames.pts_s[index] * 1000, times_ms[number_of(frames, index)], 1.1);
  }
}

TEST_F(VideoDecodeTest, ResamplesConstantRates) {
  std::vector<int> times_ms;
  for (int index = 0; index < 24; ++index) times_ms.push_back(index * 40);
  make_timed("steady.mp4", times_ms);  // 25 fps, 0.96 s
  EXPECT_EQ(read({.path = file("steady.mp4"), .fps = 25}).num_frames, 24);
  EXPECT_EQ(numbers_of(read({.path = file("steady.mp4"), .fps = 12.5})),
            (std::vector<int>{0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22}));
  const Frames doubled = read({.path = file("steady.mp4"), .fps = 50, .max_frames = 6});
  EXPECT_EQ(numbers_of(doubled), (std::vector<int>{0, 0, 1, 1, 2, 2}));
}

TEST_F(VideoDecodeTest, RangesPartTheFileWithoutLossOrOverlap) {
  for (const std::string name : {"whole.mp4", "whole.mkv", "whole.ts", "whole.avi"}) {
    const bool ts = name == "whole.ts";
    ffmpeg(concat("-f lavfi -i testsrc2=size=64x64:rate=25:duration=4 -pix_fmt yuv420p ",
                  ts ? "-c:v mpeg2video -bf 2 -g 10 " : "-c:v libx264 -g 10 -bf 3 ", name));
    const Frames whole = read_whole(name);
    ASSERT_EQ(whole.num_frames, 100) << name;
    std::vector<std::uint8_t> joined;
    for (const auto& [from, to] : {std::pair{0.0, 0.97}, {0.97, 2.0}, {2.0, 3.33}, {3.33, 99.0}}) {
      const Frames part = read({.path = file(name), .start_s = from, .end_s = to});
      joined.insert(joined.end(), part.rgb.begin(), part.rgb.end());
      EXPECT_NEAR(part.pts_s[0], from, 0.021) << name;
    }
    EXPECT_EQ(difference(joined, whole.rgb), 0) << name;
  }
}

TEST_F(VideoDecodeTest, RangeBehindTheEndIsTooShort) {
  make_pattern("-c:v libx264 -pix_fmt yuv420p clip.mp4");
  EXPECT_EQ(skip_code(DecodeRequest{.path = file("clip.mp4"), .start_s = 5}), "too_short");
  EXPECT_EQ(skip_code(DecodeRequest{.path = file("clip.mp4"), .start_s = 5, .fps = 8}),
            "too_short");
}

TEST_F(VideoDecodeTest, TrimsCountsAndSizes) {
  make_pattern("-c:v libx264 -pix_fmt yuv420p clip.mp4");  // 160x120, 25 frames
  const Frames trimmed = read({.path = file("clip.mp4"), .max_frames = 24, .frames_multiple = 4});
  EXPECT_EQ(trimmed.num_frames, 21);
  EXPECT_EQ(trimmed.pts_s.size(), 21u);
  EXPECT_EQ(trimmed.rgb.size(), 21 * trimmed.frame_bytes());
  const Frames small = read({.path = file("clip.mp4"), .max_frames = 1, .max_pixels = 80 * 60});
  EXPECT_EQ(small.width, 80);
  EXPECT_EQ(small.height, 60);
  const Frames cropped = read({.path = file("clip.mp4"), .max_frames = 1, .size_multiple = 32});
  EXPECT_EQ(cropped.width, 160);
  EXPECT_EQ(cropped.height, 96);
  const Frames whole = read({.path = file("clip.mp4"), .max_frames = 1});
  EXPECT_EQ(pixel_of(cropped, 0, 5, 0), pixel_of(whole, 0, 5, 12));  // the crop is centred
  EXPECT_EQ(skip_code(DecodeRequest{.path = file("clip.mp4"), .size_multiple = 128}), "too_small");
}

TEST_F(VideoDecodeTest, ScalesLikeFfmpegInOnePass) {
  const std::vector<std::pair<std::string, std::string>> made = {
      {"yuv420p.mp4", "-pix_fmt yuv420p -c:v libx264"},
      {"yuv420p10.mkv", "-pix_fmt yuv420p10le -c:v libx264"},
      {"bt709.mp4",
       "-vf scale=out_color_matrix=bt709 -colorspace bt709 -pix_fmt yuv420p -c:v libx264"},
      {"full.mp4", "-vf scale=out_range=full -color_range pc -pix_fmt yuv420p -c:v libx264"}};
  for (const auto& [name, how] : made) {
    make_pattern(how + " " + name);
    for (const auto& [width, height] : {std::pair(144, 108), {112, 84}, {80, 60}, {52, 39}}) {
      ffmpeg(concat("-i ", name, " -vf scale=", width, ":", height,
                    ":in_h_chr_pos=0:in_v_chr_pos=128 ", kReferenceFlags));
      const Frames small = read({.path = file(name), .max_pixels = width * height});
      const auto reference = bytes_of("reference.rgb");
      const int error = difference(small.rgb, reference);
      EXPECT_GE(error, 0) << name << " " << width;
      EXPECT_LE(error, 2) << name << " " << width;
      double sum = 0;
      for (std::size_t at = 0; at < reference.size() && error >= 0; ++at)
        sum += int{small.rgb[at]} - int{reference[at]};
      EXPECT_NEAR(sum / static_cast<double>(reference.size()), 0, 0.25) << name << " " << width;
    }
  }
}

TEST_F(VideoDecodeTest, TurnsRotatedVideosUpright) {
  make_pattern("-pix_fmt yuv444p -c:v libx264 flat.mp4");
  for (const int degrees : {90, 180, 270}) {
    ffmpeg(concat("-i flat.mp4 -c copy -metadata:s:v:0 rotate=", degrees, " turned.mp4"));
    ffmpeg(concat("-i turned.mp4 ", kReferenceFlags));  // FFmpeg's program turns by itself
    const auto info = reader_.probe(file("turned.mp4"));
    ASSERT_FALSE(skipped(info));
    // FFmpeg 5 stores this tag as a turn to the left when it copies.
    const int turn = std::get<VideoInfo>(info).rotation_deg;
    EXPECT_TRUE(turn == degrees || turn == 360 - degrees) << turn;
    const Frames frames = read_whole("turned.mp4");
    EXPECT_EQ(frames.width, degrees == 180 ? 160 : 120);
    EXPECT_EQ(frames.height, degrees == 180 ? 120 : 160);
    const int error = difference(frames.rgb, bytes_of("reference.rgb"));
    EXPECT_GE(error, 0);
    EXPECT_LE(error, 2) << degrees;
  }
}

// Pictures that are turned on the way, nearly square, so that they count as one shape.
TEST_F(VideoDecodeTest, TurnsPicturesThatAreTurnedOnTheWay) {
  const std::string made =
      "-f lavfi -i testsrc2=size=402x404:rate=5:duration=1 -c:v libx264 -bf 0 ";
  ffmpeg(made + "-pix_fmt yuv420p upright.h264");
  ffmpeg(
      "-i upright.h264 -c copy -bsf:v h264_metadata=display_orientation=insert:rotate=90 "
      "turned.h264");
  ffmpeg("-i 'concat:upright.h264|turned.h264' -c copy both.ts");
  const Frames frames = read_whole("both.ts");
  EXPECT_EQ(frames.num_frames, 10);
  EXPECT_EQ(frames.width, 402);
  EXPECT_EQ(frames.height, 404);
  // The mark of a turn is in the sixth picture, which is the first once more: its upper right
  // corner comes to the upper left.
  auto mean_of = [&](int index, int left, int top) {
    double sum = 0;
    for (int y = top; y < top + 40; ++y) {
      for (int x = left; x < left + 40; ++x) sum += pixel_of(frames, index, x, y)[0];
    }
    return sum / 1600;
  };
  EXPECT_NEAR(mean_of(5, 20, 20), mean_of(0, 342, 20), 8);
  EXPECT_NEAR(mean_of(9, 20, 20), mean_of(4, 20, 20), 8);
}

TEST_F(VideoDecodeTest, StillImagesAreOneFrameWithoutARate) {
  for (const std::string name : {"still.png", "still.jpg", "still.webp", "still.bmp"}) {
    make_pattern("-frames:v 1 " + name);
    const auto info = reader_.probe(file(name));
    ASSERT_FALSE(skipped(info)) << name;
    EXPECT_TRUE(std::get<VideoInfo>(info).is_image) << name;
    EXPECT_EQ(std::get<VideoInfo>(info).width, 160) << name;
    const Frames frames = read({.path = file(name), .start_s = 0.5, .fps = 16});
    EXPECT_EQ(frames.num_frames, 1) << name;
    EXPECT_EQ(frames.fps, 0) << name;
  }
}

TEST_F(VideoDecodeTest, ClipEndsWhereTheShapeChanges) {
  for (const char* part : {"160x120 one.mkv", "160x64 flat.mkv", "80x60 half.mkv"}) {
    const std::string size = std::string(part).substr(0, std::string(part).find(' '));
    ffmpeg(concat("-f lavfi -i testsrc2=rate=25:duration=1:size=", size, " -c:v mpeg2video -q:v 3 ",
                  std::string(part).substr(size.size() + 1)));
  }
  auto joined = [&](const std::string& second) {
    write_text("parts.txt", "ffconcat version 1.0\nfile one.mkv\nfile " + second + "\n");
    ffmpeg("-f concat -i parts.txt -c copy joined.mkv");
    return read_whole("joined.mkv");
  };
  const Frames other_shape = joined("flat.mkv");
  EXPECT_GE(other_shape.num_frames,
            24);  // the decoder of FFmpeg may drop one picture at the change
  EXPECT_LE(other_shape.num_frames, 25);
  EXPECT_EQ(other_shape.height, 120);
  const Frames same_shape = joined("half.mkv");
  EXPECT_GE(same_shape.num_frames, 49);
  EXPECT_EQ(same_shape.height, 120);
  EXPECT_EQ(same_shape.width, 160);
}

TEST_F(VideoDecodeTest, TimesGoOnWhenTheClockStartsAgain) {
  make_pattern("-c:v mpeg2video -q:v 3 -f mpegts one.ts");
  const auto once = bytes_of("one.ts");
  write_text("twice.ts",
             std::string(once.begin(), once.end()) + std::string(once.begin(), once.end()));
  const Frames frames = read_whole("twice.ts");
  EXPECT_TRUE(std::is_sorted(frames.pts_s.begin(), frames.pts_s.end()));
  for (int index = 1; index < frames.num_frames; ++index) {
    EXPECT_NEAR(frames.pts_s[index] - frames.pts_s[index - 1], 0.04, 0.001);
  }
}

}  // namespace
}  // namespace zoetrope::data
