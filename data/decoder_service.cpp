// See decoder_service.h.

#include "data/decoder_service.h"

#include <limits>
#include <new>
#include <string>

#include "base/error.h"
#include "data/video_decode.h"

namespace zoetrope::data {

namespace {

constexpr std::uint64_t kMaxPathBytes = 1 << 16;

nlohmann::json skip_to_json(const SkipReason& reason) {
  return {{"skip", {{"code", reason.code}, {"detail", reason.detail}}}};
}

MediaFile media_from_json(const nlohmann::json& header, const std::string& path) {
  if (!header.contains("offset")) return {path, 0, 0, false};
  return {path, header.at("offset"), header.at("bytes"), true};
}

nlohmann::json probe(const MediaFile& media) {
  const auto info = probe_video(media);
  if (skipped(info)) return skip_to_json(std::get<SkipReason>(info));
  return {{"info", info_to_json(std::get<VideoInfo>(info))}};
}

nlohmann::json decode(const nlohmann::json& header, const MediaFile& media, DecoderSocket& socket) {
  const DecodeRequest request = request_from_json(header);
  const std::uint64_t limit_bytes = header.at("output_bytes");
  std::uint64_t sent_bytes = 0;
  bool too_large = false;
  const auto rate = decode_video(media, request, [&](const RgbPicture& picture) {
    sent_bytes += picture.rgb.size();
    too_large = sent_bytes > limit_bytes;
    if (too_large) return false;
    socket.send({{"frame",
                  {{"pts_s", picture.pts_s},
                   {"width", picture.width},
                   {"height", picture.height},
                   {"num_expected", picture.num_expected}}}},
                picture.rgb);
    return true;
  });
  if (skipped(rate)) return skip_to_json(std::get<SkipReason>(rate));
  if (too_large) {
    return skip_to_json({"too_large", concat("more than ", limit_bytes, " bytes of pictures")});
  }
  return {{"done", {{"fps", std::get<double>(rate)}}}};
}

nlohmann::json answer(const nlohmann::json& header, const std::string& path,
                      DecoderSocket& socket) {
  try {
    const MediaFile media = media_from_json(header, path);
    return header.at("op") == "probe" ? probe(media) : decode(header, media, socket);
  } catch (const std::bad_alloc&) {
    return skip_to_json({"out_of_memory", "decoding hit the memory limit"});
  } catch (const Error& error) {
    return skip_to_json({"decoder_error", error.what()});
  }
}

}  // namespace

void serve_decoder(DecoderSocket& socket) {
  try {
    for (;;) {
      std::uint64_t path_bytes = 0;
      const nlohmann::json header = socket.receive(path_bytes);
      if (path_bytes > kMaxPathBytes) return;
      std::string path(path_bytes, '\0');
      socket.receive_payload({reinterpret_cast<std::uint8_t*>(path.data()), path.size()});
      socket.send(answer(header, path, socket));
    }
  } catch (const PeerLost&) {
    // The reader closed: this is how the process is told to end.
  }
}

}  // namespace zoetrope::data
