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

  std::string error_of(const std::vector<fs::path>& inputs, const ListOptions& options = {}) const {
    try {
      list_sources(inputs, options);
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
  const auto items = list_sources({folder_ / "clips"}, {.captions_file = captions});
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
      {"l.json", "[{\"path\": \"a.mp4\"}, 7]", "l.json entry 2: expected a JSON object"},
      {"m.json", "7", "m.json:1: expected a JSON array or object"},
      {"u.txt", "a.mp4\nhttps://x.org/b.mp4\n", "u.txt:2: https://x.org/b.mp4 is a URL"},
      {"x.csv", "path\n\"a\nb.mp4\"\n", "x.csv:2: a path with control characters"},
      {"z.txt", std::string("a\0b.mp4\n", 8), "z.txt:1: a path with control characters"},
      {"y.txt", "caf\xe9.mp4\n",
       "y.txt:1: a path with control characters or bytes that are no UTF"},
      {"s.csv", "path,aesthetic score\na.mp4,5.5\nb.mp4,good\n",
       "s.csv:3: score aesthetic is \"good\", not a number"},
      {"o.csv", "videoID,timestamp,caption\nv,\"[['0:01', '0:02']]\",\"['a', 'b']\"\n",
       "o.csv:2: 2 values of \"caption\" for 1 timestamps"},
      {"v.csv", "videoID,timestamp\nv,\"[['0:01', '0:02'\"\n",
       "v.csv:2: not a list as Python prints it: no comma"},
      {"w.csv", "videoID,timestamp\nv,\"[['0:01', 'x']]\"\n", "w.csv:2: \"x\" is no time"},
      {"p.parquet", "PAR1", "p.parquet: lists are .csv"},
  };
  for (const auto& [name, text, wanted] : cases) {
    EXPECT_NE(error_of({write(name, text)}).find(at + wanted), std::string::npos)
        << name << ": " << error_of({folder_ / name});
  }
}

TEST_F(SourceListTest, MissingVideosInAListStay) {
  EXPECT_EQ(list_sources({write("list.txt", "not_there.mp4\n")}).size(), 1u);
}

TEST_F(SourceListTest, Panda70mRowsAreClipsOfLocalFiles) {
  write("videos/00/--abc_D1.mkv");
  const fs::path list =
      write("panda.csv",
            "videoID,url,timestamp,caption,matching_score,desirable_filtering\n"
            "--abc_D1,https://www.youtube.com/watch?v=--abc_D1,"
            "\"[['0:00:02.085', '0:00:07.257'], ['0:01:12', '0:01:15.5']]\","
            "\"['A man\\'s hat, red.', \"\"It's raining.\"\"]\",\"[0.4375, 0.3]\",\"['desirable', "
            "'x']\"\n"
            "missing,https://x,\"[['0:00:00', '0:00:01']]\",\"['b']\",[1],['desirable']\n");
  const auto items = list_sources({list}, {.media_root = folder_ / "videos"});
  ASSERT_EQ(names(items),
            (Strings{"videos/00/--abc_D1.mkv", "videos/00/--abc_D1.mkv", "videos/missing.mp4"}));
  EXPECT_DOUBLE_EQ(items[0].start_s, 2.085);
  EXPECT_DOUBLE_EQ(items[0].end_s, 7.257);
  EXPECT_EQ(items[0].captions, (Strings{"A man's hat, red."}));
  EXPECT_EQ(items[1].captions, (Strings{"It's raining."}));
  EXPECT_DOUBLE_EQ(items[1].start_s, 72);
  EXPECT_DOUBLE_EQ(items[1].end_s, 75.5);
  EXPECT_EQ(items[0].scores, (std::map<std::string, double>{{"match", 0.4375}}));
  EXPECT_EQ(items[2].origin, list.string() + ":3");
}

TEST_F(SourceListTest, ScoresKeepOurNames) {
  const fs::path list = write(
      "vid.csv",
      "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,fps\n"
      "a.mp4,x,5.25,0.5,0.99,pan_left,30\nb.mp4,y,,nan,1,static,30\n");
  const auto items = list_sources({list});
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].scores,
            (std::map<std::string, double>{
                {"aesthetic", 5.25}, {"motion", 0.5}, {"temporal_consistency", 0.99}}));
  EXPECT_EQ(items[1].scores, (std::map<std::string, double>{{"temporal_consistency", 1}}));
  const auto sora = list_sources({write("s.csv", "path,text,aes,match\na.mp4,x,4.5,20\n")});
  EXPECT_EQ(sora[0].scores, (std::map<std::string, double>{{"aesthetic", 4.5}, {"match", 20}}));
  const auto own = list_sources({write("o.jsonl", R"({"path": "a.mp4", "scores": {"blur": 2}})")});
  EXPECT_EQ(own[0].scores, (std::map<std::string, double>{{"blur", 2}}));
}

TEST_F(SourceListTest, FinetrainersAndDiffusionPipeAndHuggingFaceFolders) {
  write("fine/videos/00.mp4");
  write("fine/videos/01.mp4");
  write("fine/videos.txt", "videos/00.mp4\nvideos/01.mp4\n");
  write("fine/prompts.txt", "zero\none\n");
  const auto fine = list_sources({folder_ / "fine"});
  ASSERT_EQ(fine.size(), 2u);
  EXPECT_EQ(fine[1].captions, (Strings{"one"}));
  write("pipe/a.png");
  write("pipe/b.mp4");
  write("pipe/b.txt", "beside");
  write("pipe/captions.json", R"({"a.png": ["one", "two"], "b.mp4": "three"})");
  const auto pipe = list_sources({folder_ / "pipe"});
  EXPECT_EQ(pipe[0].captions, (Strings{"one", "two"}));
  EXPECT_EQ(pipe[1].captions, (Strings{"beside", "three"}));
  write("hub/x.mp4");
  write("hub/metadata.jsonl", R"({"file_name": "x.mp4", "text": "ex"})");
  EXPECT_EQ(list_sources({folder_ / "hub"})[0].captions, (Strings{"ex"}));
}

TEST_F(SourceListTest, SidecarsWithCaptionsAndScores) {
  write("a.mp4");
  write("a.json", R"({"caption": "from json", "aesthetic_score": 6, "width": 9})");
  write("a.caption", "kohya\n");
  write("b.jpg");
  write("b.json", "[1, 2]");
  const auto items = list_sources({folder_});
  EXPECT_EQ(items[0].captions, (Strings{"kohya", "from json"}));
  EXPECT_EQ(items[0].scores, (std::map<std::string, double>{{"aesthetic", 6}}));
  EXPECT_TRUE(items[1].captions.empty());
}

TEST_F(SourceListTest, HostileCaptionsAreMadePrintable) {
  write("a.mp4");
  write("a.txt", std::string("bad \xff\xfe bytes\0and\x1b[31m end", 29));
  write("b.mp4");
  write("b.txt", std::string(1 << 20, 'x') + "\n");
  const auto items = list_sources({folder_});
  EXPECT_EQ(items[0].captions, (Strings{"bad \xEF\xBF\xBD\xEF\xBF\xBD bytes and [31m end"}));
  EXPECT_EQ(items[1].captions[0].size(), 16384u);
}

TEST_F(SourceListTest, NamesThatAreNoTextAreShownEscaped) {
  EXPECT_EQ(source_name("caf\xc3\xa9 \xF0\x9F\x8E\xA5.mp4"), "caf\xc3\xa9 \xF0\x9F\x8E\xA5.mp4");
  EXPECT_EQ(source_name("caf\xe9/a\nb\x80.mp4"), "caf\\xE9/a\\x0Ab\\x80.mp4");
}

TEST_F(SourceListTest, InsideRootRefusesEveryWayOut) {
  const ListOptions inside = {.inside_root = true};
  write("data/ok.mp4");
  write("outside.mp4");
  const auto list = [&](const std::string& text) { return write("data/list.txt", text); };
  EXPECT_EQ(error_of({list("ok.mp4\nsub/../ok.mp4\nnot_there.mp4\n")}, inside), "");
  EXPECT_NE(error_of({list("ok.mp4\n../outside.mp4\n")}, inside).find("list.txt:2: "),
            std::string::npos);
  EXPECT_NE(error_of({list("/etc/passwd\n")}, inside).find("lies outside"), std::string::npos);
  EXPECT_EQ(error_of({list("../outside.mp4\n")}), "");
  EXPECT_EQ(
      error_of({list("data/ok.mp4\noutside.mp4\n")}, {.media_root = folder_, .inside_root = true}),
      "");
  fs::create_symlink(folder_ / "outside.mp4", folder_ / "data/link.mp4");
  EXPECT_NE(error_of({list("link.mp4\n")}, inside).find("lies outside"), std::string::npos);
  EXPECT_NE(error_of({folder_ / "data"}, inside).find("lies outside"), std::string::npos);
  EXPECT_EQ(error_of({folder_ / "data"}), "");
}

}  // namespace
}  // namespace zoetrope::data
