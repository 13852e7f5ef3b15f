// Reports: escaped, whole, and independent of where they are opened.

#include "data/report.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "data/video_writer.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

class ReportTest : public VideoTest {
 protected:
  std::string html_of(const Report& report) {
    write_report(file("report.html"), report);
    return read_file(file("report.html"));
  }
  std::string html_of(ReportBlock block) { return html_of({"r", {{"s", {std::move(block)}}}}); }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_F(ReportTest, EscapesAllTextThatItIsGiven) {
  const std::string evil = "<script>\"&'</script>";
  std::ofstream(file("a'<b>&.mp4")) << "x";
  Frames picture = make_patches(1, 16, 16);
  const std::string html =
      html_of({evil,
               {{evil,
                 {ReportText{evil}, ReportCommands{{evil}}, ReportTable{evil, {evil}, {{evil}}},
                  ReportImage{picture, evil}, ReportVideo{file("a'<b>&.mp4"), evil}}}}});
  EXPECT_FALSE(has(html, "<script"));
  EXPECT_FALSE(has(html, "<b>"));
  EXPECT_TRUE(has(html, "src=\"./a%27%3Cb%3E%26.mp4\""));
  std::size_t count = 0;
  const std::string safe = "&lt;script&gt;&quot;&amp;&#39;&lt;/script&gt;";
  for (std::size_t at = html.find(safe); at != std::string::npos; at = html.find(safe, at + 1)) {
    ++count;
  }
  EXPECT_EQ(count, 11u);  // title twice, section, text, command, table 3, image 2, video 1
}

TEST_F(ReportTest, EmbedsPicturesThatDecodeToTheSamePixels) {
  const Frames picture = make_patches(1, 24, 40);
  const std::string html = html_of(ReportImage{picture, "patches"});
  const std::string head = "data:image/png;base64,";
  const std::size_t from = html.find(head) + head.size();
  std::ofstream(file("p.b64")) << html.substr(from, html.find('"', from) - from);
  const std::string command =
      concat("base64 -d '", file("p.b64").string(), "' > '", file("p.png").string(), "'");
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(read_png(file("p.png")).rgb, picture.rgb);
}

TEST_F(ReportTest, NamesVideosRelativeToItself) {
  std::filesystem::create_directories(file("videos"));
  std::ofstream(file("videos/red circle.mp4")) << "x";
  const std::string html = html_of(ReportVideo{file("videos/red circle.mp4"), "one"});
  EXPECT_TRUE(has(html, "src=\"./videos/red%20circle.mp4\""));
  EXPECT_FALSE(has(html, file("").string()));
  EXPECT_THROW(html_of(ReportVideo{file("videos/none.mp4"), ""}), Error);
}

TEST_F(ReportTest, LaysOutTablesTextAndCommands) {
  const std::string html =
      html_of({"Scores",
               {{"Shapes",
                 {ReportText{"one\n\ntwo"}, ReportCommands{{"evaluate --suite shapes", "ls"}},
                  ReportTable{"Agreement", {"what", "share"}, {{"colour", "98.5 %"}}}}}}});
  EXPECT_TRUE(has(html, "<title>Scores</title>"));
  EXPECT_TRUE(has(html, "<h2>Shapes</h2>"));
  EXPECT_TRUE(has(html, "<p>one</p>\n<p>two</p>"));
  EXPECT_TRUE(has(html, "<pre><code>evaluate --suite shapes\nls\n</code></pre>"));
  EXPECT_TRUE(has(html, "<tr><th>what</th><th>share</th></tr>"));
  EXPECT_TRUE(has(html, "<tr><td>colour</td><td class=\"number\">98.5 %</td></tr>"));
}

TEST_F(ReportTest, RefusesARowOfAnotherLength) {
  write_text("report.html", "before");
  EXPECT_THROW(html_of(ReportTable{"t", {"a", "b"}, {{"1"}}}), Error);
  EXPECT_EQ(read_file(file("report.html")), "before");
}

TEST_F(ReportTest, FetchesNothingAndLeavesNothingBehind) {
  const std::string html = html_of(ReportImage{make_patches(1, 16, 16), "x"});
  EXPECT_FALSE(has(html, "http"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

}  // namespace
}  // namespace zoetrope::data
