// Pieces come whole or not at all, and a lock is waited for.
#include "base/files.h"

#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope {
namespace {

TEST(FileReader, ReadsPiecesAlsoFromACopyAfterTheFileIsGone) {
  const TempFolder folder;
  const auto path = folder.path() / "f";
  write_file_atomically(path, "0123456789");
  FileReader reader(path);
  const FileReader copy(reader);
  const FileReader moved(std::move(reader));
  std::filesystem::remove(path);
  for (const FileReader* each : {&copy, &moved}) {
    std::array<char, 4> piece{};
    each->read(5, std::as_writable_bytes(std::span(piece)));
    EXPECT_EQ(std::string(piece.data(), 4), "5678");
    EXPECT_EQ(each->size(), 10u);
  }
}

TEST(FileReader, NamesWhatCannotBeRead) {
  const TempFolder folder;
  const auto path = folder.path() / "f";
  EXPECT_THROW(FileReader{path}, DataError);
  EXPECT_THROW(FileReader{folder.path()}, DataError);
  write_file_atomically(path, "0123456789");
  const FileReader reader(path);
  std::array<std::byte, 4> piece{};
  EXPECT_THROW(reader.read(7, piece), DataError);
  EXPECT_THROW(reader.read(~std::uint64_t{0}, piece), DataError);
  std::filesystem::resize_file(path, 2);
  EXPECT_THROW(reader.read(5, piece), DataError);
}

TEST(FolderLock, IsWaitedFor) {
  const TempFolder folder;
  std::atomic<bool> released = false;
  std::thread other;
  {
    const FolderLock lock(folder.path());
    other = std::thread([&] {
      const FolderLock mine(folder.path());
      EXPECT_TRUE(released);
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    released = true;
  }
  other.join();
}

}  // namespace
}  // namespace zoetrope
