// Folders and lists in the forms that people have them.

#include "data/source_list.h"

#include <fstream>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

class SourceListTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "zoetrope_list_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text = "x") const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }

  std::vector<std::string> names(const std::vector<SourceItem>& items) const {
    std::vector<std::string> names;
    for (const SourceItem& item : items)
      names.push_back(item.path.lexically_relative(folder_).string());
    return names;
  }

  std::string error_of(const std::vector<fs::path>& inputs) const {
    try {
      list_sources(inputs);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  fs::path folder_;
};

using Strings = std::vector<std::string>;

TEST_F(SourceListTest, FolderIsRecursiveSortedAndOnlyMedia) {
  for (const char* name : {"b.mp4", "a/z.MKV", "a/c.png", "notes.md", "a/data.json", ".hidden.mp4",
                           ".git/x.mp4", "d.webm"}) {
    write(name);
  }
  EXPECT_EQ(names(list_sources({folder_})), (Strings{"a/c.png", "a/z.MKV", "b.mp4", "d.webm"}));
}

TEST_F(SourceListTest, CaptionFilesBesideVideosAreUsed) {
  write("one.mp4");
  write("one.txt", "  a red ball\n");
  write("two.mp4");
  write("two.txt", "\n");
  const auto items = list_sources({folder_});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].captions, (Strings{"a red ball"}));
  EXPECT_TRUE(items[1].captions.empty());
  EXPECT_EQ(items[0].origin, folder_.string());
}

TEST_F(SourceListTest, CaptionTablesInsideFoldersAreUsed) {
  write("one.mp4");
  write("sub/one.mp4");
  write("sub/two.mp4");
  write("captions.jsonl",
        R"({"video": "one.mp4", "short": "top one", "dense": "the one at the top"})"
        "\n");
  write("sub/captions.csv", "file,caption\ntwo.mp4,\"two, with a comma\"\n");
  const auto items = list_sources({folder_});
  ASSERT_EQ(names(items), (Strings{"one.mp4", "sub/one.mp4", "sub/two.mp4"}));
  EXPECT_EQ(items[0].captions, (Strings{"top one", "the one at the top"}));
  EXPECT_EQ(items[1].captions, (Strings{"top one", "the one at the top"}));  // by its bare name
  EXPECT_EQ(items[2].captions, (Strings{"two, with a comma"}));
}

TEST_F(SourceListTest, OpenSoraAndOpenVidColumns) {
  const fs::path sora =
      write("sora.csv",
            "path,text,num_frames,fps\nclips/a.mp4,\"He said \"\"hi\"\",\nthen left\",10,24\n"
            "/abs/b.mp4,,20,24\n");
  const auto items = list_sources({sora});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].path, folder_ / "clips/a.mp4");
  EXPECT_EQ(items[0].captions, (Strings{"He said \"hi\",\nthen left"}));
  EXPECT_EQ(items[0].origin, sora.string() + ":2");
  EXPECT_EQ(items[1].path, "/abs/b.mp4");
  EXPECT_TRUE(items[1].captions.empty());
  EXPECT_EQ(items[1].origin, sora.string() + ":4");  // the caption above spans two lines

  const fs::path open_vid =
      write("vid.csv", "\xEF\xBB\xBFvideo,caption,aesthetic score\r\nv.mp4,a cat,5.1\r\n");
  const auto rows = list_sources({open_vid});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].captions, (Strings{"a cat"}));
}

TEST_F(SourceListTest, JsonLinesWithSeveralCaptionsAndRanges) {
  const fs::path list =
      write("list.jsonl",
            R"({"video_path": "a.mp4", "caption": ["one", "two"], "start_s": 1.5, "end_s": 3})"
            "\n\n"
            R"({"file": "b.mp4", "prompt": "three"})"
            "\n");
  const auto items = list_sources({list});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].captions, (Strings{"one", "two"}));
  EXPECT_EQ(items[0].start_s, 1.5);
  EXPECT_EQ(items[0].end_s, 3);
  EXPECT_EQ(items[1].captions, (Strings{"three"}));
  EXPECT_EQ(items[1].origin, list.string() + ":3");
}

TEST_F(SourceListTest, TextListsAndFinetrainersPrompts) {
  write("videos.txt", "a.mp4\nsub/b.mp4\n");
  write("prompts.txt", "first\nsecond\n");
  const auto items = list_sources({folder_ / "videos.txt"});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[1].path, folder_ / "sub/b.mp4");
  EXPECT_EQ(items[1].captions, (Strings{"second"}));
  write("list.txt", "a.mp4\n\n c.mp4 \r\n");
  EXPECT_EQ(names(list_sources({folder_ / "list.txt"})), (Strings{"a.mp4", "c.mp4"}));
}

TEST_F(SourceListTest, CaptionsFileAddsToWhatWasFound) {
  write("clips/one.mp4");
  write("clips/one.txt", "own");
  const fs::path captions = write("more.jsonl", R"({"video": "one.mp4", "caption": "added"})"
                                                "\n"
                                                R"({"video": "one", "caption": "by stem"})"
                                                "\n");
  const auto items = list_sources({folder_ / "clips"}, captions);
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].captions, (Strings{"own", "added"}));
}

TEST_F(SourceListTest, SameRangeTwiceIsOneItem) {
  write("a.mp4");
  const fs::path list = write("list.csv", "path,text\na.mp4,one\na.mp4,two\na.mp4,one\n");
  const auto items = list_sources({list, folder_ / "a.mp4"});
  ASSERT_EQ(items.size(), 1u);
  EXPECT_EQ(items[0].captions, (Strings{"one", "two"}));
}

TEST_F(SourceListTest, MistakesNameTheirPlace) {
  const std::string at = folder_.string() + "/";
  EXPECT_EQ(error_of({folder_ / "nothing"}), at + "nothing: no such file or folder");
  EXPECT_EQ(error_of({folder_}), folder_.string() + ": no video or image in this folder");
  const std::vector<std::array<std::string, 3>> cases = {
      {"h.csv", "name,text\na.mp4,x\n", "h.csv:1: the header names no path column"},
      {"e.csv", "", "e.csv:1: no header row"},
      {"p.csv", "path,text\na.mp4,x\n ,y\n", "p.csv:3: no path"},
      {"c.csv", "path,text\na.mp4,one, two\n", "c.csv:2: 3 fields under 2 columns"},
      {"q.csv", "path,text\na.mp4,\"open\nstill open\n",
       "q.csv:2: a quoted field has no closing quote"},
      {"t.csv", "path,text\na.mp4,\"closed\" more\n", "t.csv:2: text after the closing quote"},
      {"r.csv", "path,start_s,end_s\na.mp4,3,2\n", "r.csv:2: range from 3 s to 2 s is empty"},
      {"n.csv", "path,start_s\na.mp4,soon\n", "n.csv:2: \"soon\" is no time in seconds"},
      {"k.jsonl", "{\"video\": \"a.mp4\"}\n{\"caption\": \"x\"}\n", "k.jsonl:2: no path"},
      {"a.jsonl", "[1]\n", "a.jsonl:1: expected a JSON object"},
      {"b.jsonl", "{\"video\": \"a.mp4\"}\n{\"video\": \n", "b.jsonl:2"},
      {"l.json", "[]", "l.json: lists are .csv, .jsonl"},
  };
  for (const auto& [name, text, wanted] : cases) {
    EXPECT_NE(error_of({write(name, text)}).find(at + wanted), std::string::npos)
        << name << ": " << error_of({folder_ / name});
  }
}

TEST_F(SourceListTest, MissingVideosInAListStay) {
  EXPECT_EQ(list_sources({write("list.txt", "not_there.mp4\n")}).size(), 1u);
}

TEST_F(SourceListTest, CsvFollowsRfc4180) {
  const fs::path path = write("x.csv", "a,\"b,\"\"c\"\"\r\nd\",\r\n\r\n,e,\"\"\nlast");
  const auto rows = read_csv(path);
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].fields, (Strings{"a", "b,\"c\"\r\nd", ""}));
  EXPECT_EQ(rows[0].line, 1);
  EXPECT_EQ(rows[1].fields, (Strings{"", "e", ""}));
  EXPECT_EQ(rows[1].line, 4);
  EXPECT_EQ(rows[2].fields, (Strings{"last"}));
}

}  // namespace
}  // namespace zoetrope::data
