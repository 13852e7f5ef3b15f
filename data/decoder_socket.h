// Messages between VideoReader and its decoder process: a JSON header and raw bytes after it.
// Nothing that comes in is believed before its size is checked, and nobody waits past the deadline.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "data/frames.h"
#include "data/video_reader.h"

namespace zoetrope::data {

// The other side is gone or talks nonsense.
class PeerLost : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class DeadlinePassed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// One end of a socket pair; closes it.
class DecoderSocket {
 public:
  explicit DecoderSocket(int fd) : fd_(fd) {}
  ~DecoderSocket();
  DecoderSocket(const DecoderSocket&) = delete;
  DecoderSocket& operator=(const DecoderSocket&) = delete;

  // Sends and receives throw DeadlinePassed after this long from now; a negative time waits for
  // ever.
  void set_deadline(double seconds);
  void send(const nlohmann::json& header, std::span<const std::uint8_t> payload = {});
  // The next header; `payload_bytes` bytes follow and must be taken with receive_payload.
  nlohmann::json receive(std::uint64_t& payload_bytes);
  void receive_payload(std::span<std::uint8_t> payload);

 private:
  void wait_for(short events);
  void send_all(std::span<const std::uint8_t> bytes);

  int fd_;
  bool limited_ = false;
  std::chrono::steady_clock::time_point deadline_;
};

// Requests and answers as headers. An infinite end_s is left out; paths travel as payload (any
// bytes).
nlohmann::json request_to_json(const DecodeRequest& request);
DecodeRequest request_from_json(const nlohmann::json& header);
nlohmann::json info_to_json(const VideoInfo& info);
VideoInfo info_from_json(const nlohmann::json& header);

}  // namespace zoetrope::data
