// Every input that the fuzzers start from, and every one that once found something, as a test.

#include <fstream>
#include <iterator>
#include <vector>

#include <gtest/gtest.h>

#include "tests/fuzz/targets.h"

namespace zoetrope::fuzz {
namespace {

namespace fs = std::filesystem;

void try_corpus(const std::string& name, void (*target)(Bytes)) {
  int count = 0;
  for (const auto& entry :
       fs::directory_iterator(fs::path(ZOETROPE_TEST_FOLDER) / "fuzz/corpus" / name)) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    EXPECT_NO_THROW(target({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}))
        << entry.path();
    ++count;
  }
  EXPECT_GE(count, 3);
  EXPECT_NO_THROW(target({}));
}

TEST(FuzzCorpus, Video) {
  try_corpus("video", try_video);
}
TEST(FuzzCorpus, Safetensors) {
  try_corpus("safetensors", try_safetensors);
}
TEST(FuzzCorpus, Shard) {
  try_corpus("shard", try_shard);
}
TEST(FuzzCorpus, List) {
  try_corpus("list", try_list);
}
TEST(FuzzCorpus, Yaml) {
  try_corpus("yaml", try_yaml);
}
TEST(FuzzCorpus, Tokenizer) {
  try_corpus("tokenizer", try_tokenizer);
}

}  // namespace
}  // namespace zoetrope::fuzz
