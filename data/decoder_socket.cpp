// See decoder_socket.h. On the wire: header bytes (u32), payload bytes (u64), header, payload; both
// ends are the same machine, so numbers travel as they are in memory.

#include "data/decoder_socket.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

namespace zoetrope::data {

namespace {

constexpr std::uint32_t kMaxHeaderBytes = 1 << 20;
constexpr std::size_t kPrefixBytes = sizeof(std::uint32_t) + sizeof(std::uint64_t);

}  // namespace

DecoderSocket::~DecoderSocket() {
  close(fd_);
}

void DecoderSocket::set_deadline(double seconds) {
  limited_ = seconds >= 0;
  if (!limited_) return;
  const double bounded_s = std::min(seconds, 1e8);
  deadline_ = std::chrono::steady_clock::now() +
              std::chrono::microseconds(static_cast<std::int64_t>(bounded_s * 1e6));
}

void DecoderSocket::wait_for(short events) {
  for (;;) {
    int timeout_ms = -1;
    if (limited_) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(
          deadline_ - std::chrono::steady_clock::now());
      if (left.count() <= 0) throw DeadlinePassed("no answer in time");
      timeout_ms = static_cast<int>(std::min<std::int64_t>(left.count(), 1'000'000));
    }
    pollfd entry{fd_, events, 0};
    const int ready = poll(&entry, 1, timeout_ms);
    if (ready > 0) return;
    if (ready < 0 && errno != EINTR) throw PeerLost(concat("poll: ", std::strerror(errno)));
  }
}

void DecoderSocket::send_all(std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    wait_for(POLLOUT);
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      throw PeerLost(concat("send: ", std::strerror(errno)));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
}

void DecoderSocket::send(const nlohmann::json& header, std::span<const std::uint8_t> payload) {
  const std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto header_bytes = static_cast<std::uint32_t>(text.size());
  const std::uint64_t payload_bytes = payload.size();
  std::vector<std::uint8_t> start(kPrefixBytes + text.size());
  std::memcpy(start.data(), &header_bytes, sizeof(header_bytes));
  std::memcpy(start.data() + sizeof(header_bytes), &payload_bytes, sizeof(payload_bytes));
  std::copy(text.begin(), text.end(), start.begin() + kPrefixBytes);
  send_all(start);
  send_all(payload);
}

void DecoderSocket::receive_payload(std::span<std::uint8_t> payload) {
  while (!payload.empty()) {
    wait_for(POLLIN);
    const ssize_t got = recv(fd_, payload.data(), payload.size(), MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) throw PeerLost(concat("recv: ", std::strerror(errno)));
    if (got == 0) throw PeerLost("the other side closed the connection");
    payload = payload.subspan(static_cast<std::size_t>(got));
  }
}

nlohmann::json DecoderSocket::receive(std::uint64_t& payload_bytes) {
  std::array<std::uint8_t, kPrefixBytes> prefix;
  receive_payload(prefix);
  std::uint32_t header_bytes = 0;
  std::memcpy(&header_bytes, prefix.data(), sizeof(header_bytes));
  std::memcpy(&payload_bytes, prefix.data() + sizeof(header_bytes), sizeof(payload_bytes));
  if (header_bytes > kMaxHeaderBytes) {
    throw PeerLost(concat("a header of ", header_bytes, " bytes is beyond ", kMaxHeaderBytes));
  }
  std::vector<std::uint8_t> text(header_bytes);
  receive_payload(text);
  auto header = nlohmann::json::parse(text, nullptr, false);
  if (!header.is_object()) throw PeerLost("a header is not a JSON object");
  return header;
}

nlohmann::json request_to_json(const DecodeRequest& request) {
  nlohmann::json header = {{"start_s", request.start_s},
                           {"fps", request.fps},
                           {"max_frames", request.max_frames},
                           {"max_pixels", request.max_pixels},
                           {"size_multiple", request.size_multiple},
                           {"tone_map_hdr", request.tone_map_hdr}};
  if (std::isfinite(request.end_s)) header["end_s"] = request.end_s;
  return header;
}

DecodeRequest request_from_json(const nlohmann::json& header) {
  DecodeRequest request;
  request.start_s = header.at("start_s");
  request.end_s = header.value("end_s", request.end_s);
  request.fps = header.at("fps");
  request.max_frames = header.at("max_frames");
  request.max_pixels = header.at("max_pixels");
  request.size_multiple = header.at("size_multiple");
  request.tone_map_hdr = header.at("tone_map_hdr");
  return request;
}

nlohmann::json info_to_json(const VideoInfo& info) {
  return {{"container", info.container},
          {"codec", info.codec},
          {"pixel_format", info.pixel_format},
          {"width", info.width},
          {"height", info.height},
          {"coded_width", info.coded_width},
          {"coded_height", info.coded_height},
          {"fps", info.fps},
          {"duration_s", info.duration_s},
          {"num_frames", info.num_frames},
          {"rotation_deg", info.rotation_deg},
          {"is_image", info.is_image}};
}

VideoInfo info_from_json(const nlohmann::json& header) {
  VideoInfo info;
  info.container = header.at("container");
  info.codec = header.at("codec");
  info.pixel_format = header.at("pixel_format");
  info.width = header.at("width");
  info.height = header.at("height");
  info.coded_width = header.at("coded_width");
  info.coded_height = header.at("coded_height");
  info.fps = header.at("fps");
  info.duration_s = header.at("duration_s");
  info.num_frames = header.at("num_frames");
  info.rotation_deg = header.at("rotation_deg");
  info.is_image = header.at("is_image");
  return info;
}

}  // namespace zoetrope::data
