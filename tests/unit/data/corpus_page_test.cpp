// The page of a corpus: counts, reasons and pictures are on it, and nothing is passed over.
#include "data/corpus_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "data/video_writer.h"
#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TempFolder;
namespace fs = std::filesystem;

std::size_t count(const std::string& text, const std::string& word) {
  std::size_t times = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++times;
  return times;
}

TEST(CorpusPage, ShowsCountsRejectsAndPictures) {
  const TempFolder folder;
  auto clips = testing::some_clips(3);
  clips[1].captions = {"a <red> circle"};
  clips[1].text_ids = {hash_text(clips[1].captions[0])};
  clips[2].source = "gone.mp4";
  testing::write_corpus(folder / "c", clips);
  write_rejects(folder / "c", {{"bad.mp4", "truncated", "at 3 s"}});
  Frames frames;
  frames.num_frames = 9;
  frames.height = 32;
  frames.width = 40;
  frames.fps = 16;
  frames.rgb.assign(9 * frames.frame_bytes(), 120);
  for (int i : {0, 1}) write_mp4(folder / clips[static_cast<std::size_t>(i)].source, frames, {});
  write_corpus_page(folder / "c", folder / "page.html", {10, folder / ""});
  const std::string page = read_file(folder / "page.html");
  EXPECT_EQ(count(page, "data:image/png;base64,"), 2u);
  EXPECT_THAT(page, AllOf(HasSubstr("No picture (missing_file"), HasSubstr("gone.mp4"),
                          HasSubstr("a &lt;red&gt; circle"), HasSubstr("40x32"),
                          HasSubstr("truncated"), HasSubstr("at 3 s")));
  write_corpus_page(folder / "c", folder / "page.html", {1, folder / ""});
  EXPECT_EQ(count(read_file(folder / "page.html"), "<figure>"), 1u);
}

}  // namespace
}  // namespace zoetrope::data
