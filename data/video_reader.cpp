// See video_reader.h. The child is believed nothing: sizes are checked here before memory is taken.

#include "data/video_reader.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <new>
#include <optional>
#include <string>

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "data/decoder_socket.h"
#include "data/source_list.h"

extern char** environ;

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

constexpr int kChildSocket = 3;
constexpr double kStartS = 60;  // a loaded machine may take long to map the libraries
constexpr const char* kDecoderName = "zoetrope_decoder";

fs::path find_decoder() {
  const fs::path here = program_folder();
  const fs::path above = here.parent_path();
  for (const fs::path& folder : {here, here / "bin", above / "bin", above}) {
    if (fs::is_regular_file(folder / kDecoderName)) return folder / kDecoderName;
  }
  throw Error(
      concat("program ", kDecoderName, " is not beside the running program: ", here.string(), ", ",
             (here / "bin").string(), ", ", (above / "bin").string(), ", ", above.string()));
}

// The file actions and attributes of posix_spawn, freed together.
class SpawnPlan {
 public:
  explicit SpawnPlan(int child_end) {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    posix_spawn_file_actions_adddup2(&actions_, child_end, kChildSocket);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      posix_spawn_file_actions_addopen(&actions_, fd, "/dev/null", O_RDWR, 0);
    }
    posix_spawn_file_actions_addclosefrom_np(&actions_, kChildSocket + 1);
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes_, &none);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  pid_t start(const fs::path& program, std::array<std::string, 4> words) {
    std::array<char*, 5> argv{};
    for (std::size_t index = 0; index < words.size(); ++index) argv[index] = words[index].data();
    pid_t pid = -1;
    const int code =
        posix_spawn(&pid, program.c_str(), &actions_, &attributes_, argv.data(), environ);
    ZOETROPE_CHECK(code == 0, "cannot start ", program.string(), ": ", std::strerror(code));
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_;
  posix_spawnattr_t attributes_;
};

std::string describe_exit(int status) {
  if (WIFSIGNALED(status)) return concat("signal ", WTERMSIG(status));
  if (WIFEXITED(status)) return concat("exit code ", WEXITSTATUS(status));
  return "reason unknown";
}

// What can be said without opening the file; the child never sees pipes, devices or folders.
std::optional<SkipReason> refuse_path(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) return SkipReason{"missing_file", "no such file"};
  if (error) return SkipReason{"unreadable", error.message()};
  if (!fs::is_regular_file(status)) return SkipReason{"not_a_file", "not a regular file"};
  if (access(path.c_str(), R_OK) != 0) return SkipReason{"unreadable", std::strerror(errno)};
  if (fs::file_size(path, error) == 0) return SkipReason{"empty_file", "0 bytes"};
  return std::nullopt;
}

void check_request(const DecodeRequest& request) {
  ZOETROPE_CHECK(request.start_s >= 0 && request.end_s > request.start_s, "decode from ",
                 request.start_s, " s to ", request.end_s, " s is no range");
  ZOETROPE_CHECK(request.fps >= 0 && request.fps <= 1000, "decode at ", request.fps, " fps");
  ZOETROPE_CHECK(request.max_frames >= 0 && request.max_pixels >= 0, "decode at most ",
                 request.max_frames, " frames of ", request.max_pixels, " pixels");
  ZOETROPE_CHECK(request.size_multiple >= 1 && request.frames_multiple >= 1, "size multiple ",
                 request.size_multiple, " and frames multiple ", request.frames_multiple,
                 " must be at least 1");
}

// A message about one file: its name as bytes, and which stretch of it when it lies in a tar.
void send_request(const MediaFile& media, nlohmann::json header, DecoderSocket& socket) {
  const std::string name = fs::absolute(media.path).string();
  if (media.is_member) {
    header["offset"] = media.offset;
    header["bytes"] = media.bytes;
  }
  socket.send(header, {reinterpret_cast<const std::uint8_t*>(name.data()), name.size()});
}

void send_decode(const MediaFile& media, const DecodeRequest& request, std::int64_t output_bytes,
                 DecoderSocket& socket) {
  nlohmann::json header = request_to_json(request);
  header["op"] = "decode";
  header["output_bytes"] = output_bytes;
  send_request(media, std::move(header), socket);
}

SkipReason skip_from_json(const nlohmann::json& skip) {
  return {skip.at("code").get<std::string>(), skip.at("detail").get<std::string>()};
}

// Takes the child's answer to a decode request: pictures, whose bytes go where `room` says, up to
// the rate or a reason.
OrSkip<double> receive_pictures(
    DecoderSocket& socket, const std::function<std::span<std::uint8_t>(const RgbPicture&)>& room,
    const std::function<void(const RgbPicture&)>& use) {
  for (std::int64_t index = 0;; ++index) {
    std::uint64_t payload_bytes = 0;
    const nlohmann::json answer = socket.receive(payload_bytes);
    if (answer.contains("skip")) return skip_from_json(answer["skip"]);
    if (!answer.contains("frame")) {
      if (index == 0) throw PeerLost("done without a frame");
      return answer.at("done").at("fps").get<double>();
    }
    const auto& header = answer["frame"];
    RgbPicture picture{header.at("pts_s"),       header.at("width"), header.at("height"), {}, index,
                       header.at("num_expected")};
    if (picture.width <= 0 || picture.height <= 0 ||
        payload_bytes != std::uint64_t{3} * picture.width * picture.height) {
      throw PeerLost(concat("a frame of ", picture.width, "x", picture.height, " in ",
                            payload_bytes, " bytes"));
    }
    const std::span<std::uint8_t> rgb = room(picture);
    socket.receive_payload(rgb);
    picture.rgb = rgb;
    use(picture);
  }
}

// Where all pictures of the request will lie, so that they need not move while they grow in number.
// What is not used costs no memory; what cannot be had is left to the growing.
void reserve_room(const RgbPicture& first, std::int64_t limit_bytes, Frames& frames) {
  constexpr std::int64_t kMore = 16;  // the file's own count may be short by a few
  const auto frame_bytes = static_cast<std::int64_t>(frames.frame_bytes());
  const std::int64_t most = limit_bytes / frame_bytes;
  const std::int64_t expected = std::clamp<std::int64_t>(first.num_expected, 0, most);
  try {
    frames.rgb.reserve(static_cast<std::size_t>(std::min(expected + kMore, most) * frame_bytes));
  } catch (const std::bad_alloc&) {
  }
}

// Room for one more picture at the end of `frames`.
std::span<std::uint8_t> append_room(const RgbPicture& picture, std::int64_t limit_bytes,
                                    Frames& frames) {
  if (picture.index > 0 && (picture.width != frames.width || picture.height != frames.height)) {
    throw PeerLost(concat("a frame of ", picture.width, "x", picture.height));
  }
  frames.width = picture.width;
  frames.height = picture.height;
  const std::size_t filled = frames.rgb.size();
  if (filled + frames.frame_bytes() > static_cast<std::uint64_t>(limit_bytes)) {
    throw PeerLost(concat("a frame of ", frames.frame_bytes(), " bytes after ", filled));
  }
  if (picture.index == 0) reserve_room(picture, limit_bytes, frames);
  frames.rgb.resize(filled + frames.frame_bytes());
  return std::span(frames.rgb).subspan(filled);
}

void trim_end(Frames& frames, int frames_multiple) {
  const int kept = 1 + (frames.num_frames - 1) / frames_multiple * frames_multiple;
  frames.num_frames = kept;
  frames.pts_s.resize(static_cast<std::size_t>(kept));
  frames.rgb.resize(kept * frames.frame_bytes());
}

}  // namespace

struct VideoReader::Child {
  explicit Child(const DecodeLimits& limits) {
    std::array<int, 2> ends;
    ZOETROPE_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0,
                   "socketpair: ", std::strerror(errno));
    socket = std::make_unique<DecoderSocket>(ends[0]);
    const DecoderSocket child_end(ends[1]);  // closed here once the child has its copy
    const fs::path program = find_decoder();
    pid = SpawnPlan(ends[1]).start(program,
                                   {program.string(), std::to_string(kChildSocket),
                                    std::to_string(limits.memory_bytes), std::to_string(getpid())});
  }
  ~Child() { end(); }

  // The first message: the child is shut in and waits for work.
  void await_ready() {
    try {
      std::uint64_t payload_bytes = 0;
      socket->set_deadline(kStartS);
      const nlohmann::json first = socket->receive(payload_bytes);
      ZOETROPE_CHECK(first.contains("ready"), kDecoderName,
                     " cannot shut itself in: ", first.value("failed", "no reason given"));
    } catch (const PeerLost&) {
      throw Error(concat(kDecoderName, " ended at its start: ", end()));
    } catch (const DeadlinePassed&) {
      throw Error(concat(kDecoderName, " was not ready within ", kStartS, " s"));
    }
  }

  bool alive() {
    if (pid <= 0) return false;
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) == 0) return true;
    pid = -1;
    return false;
  }

  // Kills it if it lives; how it ended, in words.
  std::string end() {
    if (pid <= 0) return "ended before";
    int status = 0;
    pid_t reaped = waitpid(pid, &status, WNOHANG);
    if (reaped == 0) {
      kill(pid, SIGKILL);
      while ((reaped = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
      }
    }
    const std::string how = reaped == pid ? describe_exit(status) : "reason unknown";
    pid = -1;
    return how;
  }

  pid_t pid = -1;
  std::unique_ptr<DecoderSocket> socket;
};

VideoReader::VideoReader(DecodeLimits limits) : limits_(limits) {}
VideoReader::~VideoReader() = default;

std::optional<SkipReason> VideoReader::find(const fs::path& path, MediaFile& media) {
  try {
    const auto found = files_.find(path);
    if (!found || !found->is_member) {
      media.path = path;
      return refuse_path(path);
    }
    media = *found;
  } catch (const Error& error) {
    return SkipReason{"unreadable", error.what()};
  }
  if (access(media.path.c_str(), R_OK) != 0) return SkipReason{"unreadable", std::strerror(errno)};
  if (media.bytes == 0) return SkipReason{"empty_file", "0 bytes"};
  return std::nullopt;
}

// Starts a child when there is none, talks with it, and ends it when it crashed or hangs.
template <class Result, class Talk>
OrSkip<Result> VideoReader::ask(const fs::path& path, const Talk& talk) {
  MediaFile media;
  auto reason = find(path, media);
  while (!reason) {
    const bool reused = child_ && child_->alive();
    if (!reused) {
      child_ = std::make_unique<Child>(limits_);
      child_->await_ready();
    }
    try {
      child_->socket->set_deadline(limits_.wall_s);
      OrSkip<Result> result = talk(media, *child_->socket);
      if (!skipped(result)) return result;
      reason = std::get<SkipReason>(result);
    } catch (const DeadlinePassed&) {
      reason = SkipReason{"timed_out", concat("not decoded within ", limits_.wall_s, " s")};
      child_.reset();
    } catch (const PeerLost& lost) {
      // Only a fresh child blames this file: what an earlier file left behind must not change the
      // result.
      if (!reused) {
        reason = SkipReason{"decoder_crashed", concat(child_->end(), "; ", lost.what())};
      }
      child_.reset();
    } catch (const nlohmann::json::exception& error) {
      reason = SkipReason{"decoder_crashed", concat("nonsense from the decoder: ", error.what())};
      child_.reset();
    } catch (...) {
      child_.reset();  // stopped in the middle of an answer
      throw;
    }
  }
  reason->detail = concat(source_name(path), ": ", reason->detail);
  return *reason;
}

OrSkip<VideoInfo> VideoReader::probe(const fs::path& path) {
  return ask<VideoInfo>(path,
                        [](const MediaFile& media, DecoderSocket& socket) -> OrSkip<VideoInfo> {
                          send_request(media, {{"op", "probe"}}, socket);
                          std::uint64_t payload_bytes = 0;
                          const nlohmann::json answer = socket.receive(payload_bytes);
                          if (answer.contains("skip")) return skip_from_json(answer["skip"]);
                          return info_from_json(answer.at("info"));
                        });
}

OrSkip<Frames> VideoReader::read(const DecodeRequest& request) {
  check_request(request);
  return ask<Frames>(request.path,
                     [&](const MediaFile& media, DecoderSocket& socket) -> OrSkip<Frames> {
                       send_decode(media, request, limits_.output_bytes, socket);
                       Frames frames;
                       const auto rate = receive_pictures(
                           socket,
                           [&](const RgbPicture& picture) {
                             return append_room(picture, limits_.output_bytes, frames);
                           },
                           [&](const RgbPicture& picture) {
                             frames.pts_s.push_back(picture.pts_s);
                             ++frames.num_frames;
                           });
                       if (skipped(rate)) return std::get<SkipReason>(rate);
                       frames.fps = std::get<double>(rate);
                       trim_end(frames, request.frames_multiple);
                       return frames;
                     });
}

OrSkip<double> VideoReader::stream(const DecodeRequest& request,
                                   const std::function<void(const RgbPicture&)>& use) {
  check_request(request);
  return ask<double>(
      request.path, [&](const MediaFile& media, DecoderSocket& socket) -> OrSkip<double> {
        send_decode(media, request, std::numeric_limits<std::int64_t>::max(), socket);
        std::vector<std::uint8_t> rgb;
        return receive_pictures(
            socket,
            [&](const RgbPicture& picture) {
              const std::uint64_t bytes = std::uint64_t{3} * picture.width * picture.height;
              if (bytes > static_cast<std::uint64_t>(limits_.output_bytes))
                throw PeerLost(concat("a frame of ", bytes, " bytes"));
              rgb.resize(bytes);
              return std::span(rgb);
            },
            [&](const RgbPicture& picture) {
              use(picture);
              socket.set_deadline(limits_.wall_s);
            });
      });
}

}  // namespace zoetrope::data
