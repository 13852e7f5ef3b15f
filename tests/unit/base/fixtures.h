// What the tests of this folder share: a folder that goes away with the test, and the message of
// what is thrown.
#pragma once

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>

namespace zoetrope {

class TempFolder {
 public:
  TempFolder() {
    static std::atomic<int> count{0};
    std::string name =
        "zoetrope_base_" + std::to_string(::getpid()) + "_" + std::to_string(count++);
    path_ = std::filesystem::temp_directory_path() / name;
    std::filesystem::create_directories(path_);
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// What `run` throws as text, or "nothing was thrown".
template <class ErrorType, class Run>
std::string message_of(Run run) {
  try {
    run();
  } catch (const ErrorType& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace zoetrope
