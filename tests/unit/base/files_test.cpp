// Publishing, hashing, mapping, locking and finding of files.
#include "base/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/error.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

int num_files(const fs::path& folder) {
  return static_cast<int>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(Files, WrittenBytesComeBack) {
  TempFolder folder;
  std::string bytes(3'000'001, 'x');
  bytes[5] = '\0';
  write_file_atomically(folder / "a", bytes);
  EXPECT_EQ(read_file(folder / "a"), bytes);
  write_file_atomically(folder / "a", "");
  EXPECT_EQ(read_file(folder / "a"), "");
  EXPECT_EQ(num_files(folder.path()), 1);
}

TEST(Files, ReadOfAMissingFileNamesItAndTheReason) {
  std::string message = message_of<ConfigError>([] { read_file("/no/such/file"); });
  EXPECT_THAT(message, HasSubstr("/no/such/file"));
  EXPECT_THAT(message, HasSubstr("No such file"));
  EXPECT_THROW(read_file("/"), ConfigError);
  EXPECT_THROW(hash_file("/no/such/file"), ConfigError);
  EXPECT_THROW(MappedFile("/no/such/file"), ConfigError);
  EXPECT_THROW(MappedFile("/"), ConfigError);
}

TEST(Files, AFailedWriteKeepsTheOldFileAndLeavesNoTemporary) {
  TempFolder folder;
  write_file_atomically(folder / "a", "old");
  auto half_write = [](const fs::path& temporary) {
    std::ofstream(temporary) << "half of the new";
    throw DataError("the rest is broken");
  };
  EXPECT_THROW(publish_file(folder / "a", half_write), DataError);
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(num_files(folder.path()), 1);
}

TEST(Files, AWriterThatMakesNoFileIsAnError) {
  TempFolder folder;
  write_file_atomically(folder / "a", "old");
  EXPECT_THROW(publish_file(folder / "a", [](const fs::path&) {}), Error);
  EXPECT_EQ(read_file(folder / "a"), "old");
}

TEST(Files, TheOldFileIsVisibleUntilTheNewOneIsWhole) {
  TempFolder folder;
  write_file_atomically(folder / "a", "old");
  publish_file(folder / "a", [&](const fs::path& temporary) {
    std::ofstream(temporary) << "new";
    EXPECT_EQ(read_file(folder / "a"), "old");
    EXPECT_EQ(temporary, folder / "a.tmp");
  });
  EXPECT_EQ(read_file(folder / "a"), "new");
}

TEST(Files, AWriteIntoAMissingFolderSaysWhy) {
  TempFolder folder;
  std::string message =
      message_of<Error>([&] { write_file_atomically(folder / "none" / "a", "x"); });
  EXPECT_THAT(message, HasSubstr("No such file"));
  EXPECT_THAT(message, HasSubstr("none"));
}

TEST(Files, AFullDiskIsAnError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  FileWriter out("/dev/full");
  EXPECT_THAT(message_of<Error>([&] { out.write("x"); }), HasSubstr("No space left"));
}

// The digests that `xxhsum -H128` prints.
TEST(Hash, IsXxh3With128Bits) {
  EXPECT_EQ(hash_text(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hash_text("a"), "a96faf705af16834e6c632b61e964e1f");
}

TEST(Hash, OfAFileIsTheHashOfItsBytes) {
  TempFolder folder;
  for (std::size_t size : {0u, 1u, 1u << 20, (1u << 20) + 1, 3'000'000u}) {
    std::string bytes(size, 'q');
    write_file_atomically(folder / "a", bytes);
    EXPECT_EQ(hash_file(folder / "a"), hash_text(bytes)) << size;
  }
}

TEST(MappedFile, ShowsTheBytesAndSurvivesMoves) {
  TempFolder folder;
  write_file_atomically(folder / "a", "hello");
  write_file_atomically(folder / "empty", "");
  MappedFile first(folder / "a");
  MappedFile second(std::move(first));
  EXPECT_TRUE(first.bytes().empty());
  MappedFile third(folder / "empty");
  EXPECT_TRUE(third.bytes().empty());
  third = std::move(second);
  ASSERT_EQ(third.bytes().size(), 5u);
  EXPECT_EQ(static_cast<char>(third.bytes()[4]), 'o');
}

// Exit code of `run` in a child process.
template <class Run>
int in_child(Run run) {
  pid_t child = ::fork();
  if (child == 0) ::_exit(run());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(FolderLock, KeepsASecondProcessOut) {
  TempFolder folder;
  auto try_lock = [&] {
    try {
      FolderLock lock(folder.path(), "encode_dataset");
      return 0;
    } catch (const ConfigError& error) {
      std::string expected = "another encode_dataset writes to";
      return std::string(error.what()).find(expected) == std::string::npos ? 2 : 1;
    }
  };
  {
    FolderLock lock(folder.path(), "encode_dataset");
    EXPECT_EQ(in_child(try_lock), 1);
  }
  EXPECT_EQ(in_child(try_lock), 0);
}

TEST(FolderLock, NeedsTheFolder) {
  EXPECT_THROW(FolderLock("/no/such/folder", "train"), Error);
}

// Sets an environment variable for one test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    const char* old = std::getenv(name);
    if (old != nullptr) old_ = old;
    had_ = old != nullptr;
    set(value);
  }
  ~Variable() { set(had_ ? old_.c_str() : nullptr); }

 private:
  void set(const char* value) { value != nullptr ? ::setenv(name_, value, 1) : ::unsetenv(name_); }
  const char* name_;
  std::string old_;
  bool had_ = false;
};

TEST(Places, CacheFolderFollowsTheEnvironment) {
  Variable home("HOME", "/h"), xdg("XDG_CACHE_HOME", "/x"), own("ZOETROPE_CACHE", "/z");
  EXPECT_EQ(cache_folder(), "/z");
  Variable no_own("ZOETROPE_CACHE", nullptr);
  EXPECT_EQ(cache_folder(), "/x/zoetrope");
  Variable no_xdg("XDG_CACHE_HOME", "");
  EXPECT_EQ(cache_folder(), "/h/.cache/zoetrope");
}

TEST(Places, ProgramFolderHoldsThisProgram) {
  EXPECT_TRUE(fs::exists(program_folder() / "unit_base")) << program_folder();
}

TEST(Places, ShippedFolderOfASourceTreeIsFound) {
  EXPECT_TRUE(fs::exists(shipped_folder("tests/unit/base") / "files_test.cpp"));
  std::string message = message_of<Error>([] { shipped_folder("no/such"); });
  EXPECT_THAT(message, HasSubstr("share/zoetrope/no/such"));
}

TEST(Places, AConfigAsTypedIsTakenAndAMissingOneNamesBothPlaces) {
  TempFolder folder;
  write_file_atomically(folder / "mine.yaml", "");
  EXPECT_EQ(find_config((folder / "mine.yaml").string()), folder / "mine.yaml");
  std::string message = message_of<ConfigError>([] { find_config("none_such.yaml"); });
  EXPECT_THAT(message, HasSubstr((fs::current_path() / "none_such.yaml").string()));
  EXPECT_THAT(message, HasSubstr("configs/none_such.yaml"));
  EXPECT_THROW(find_config(folder.path().string()), ConfigError);
}

TEST(Places, WeightsAreAFolderAsTypedOrAName) {
  TempFolder folder;
  EXPECT_EQ(find_weights(folder.path().string()), folder.path());
  fs::create_directories(folder / "minilm");
  Variable cache("ZOETROPE_CACHE", folder.path().c_str());
  EXPECT_EQ(find_weights("minilm"), folder / "minilm");
  EXPECT_THAT(message_of<ConfigError>([] { find_weights("none_such"); }),
              HasSubstr("pretrained/none_such"));
  write_file_atomically(folder / "file", "");
  EXPECT_THROW(find_weights((folder / "file").string()), ConfigError);
  EXPECT_THROW(find_weights(""), ConfigError);
}

}  // namespace
}  // namespace zoetrope
