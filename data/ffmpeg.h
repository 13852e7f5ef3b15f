// Every FFmpeg handle of the project: owners that free what they hold, and error texts.
// FFmpeg 4.4 to 7; nothing here opens or decodes anything by itself.
#pragma once

#include <memory>
#include <string>

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/avstring.h>
#include <libavutil/display.h>
#include <libavutil/frame.h>
#include <libavutil/imgutils.h>
#include <libavutil/log.h>
#include <libavutil/mastering_display_metadata.h>
#include <libavutil/mem.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
}

namespace zoetrope::data {

// FFmpeg frees through a pointer to the pointer.
template <class T, void (*free_function)(T**)>
struct AvFree {
  void operator()(T* handle) const { free_function(&handle); }
};

struct AvioClose {
  void operator()(AVIOContext* io) const { avio_closep(&io); }
};

struct OutputFree {
  void operator()(AVFormatContext* format) const { avformat_free_context(format); }
};

struct SwsFree {
  void operator()(SwsContext* sws) const { sws_freeContext(sws); }
};

using UniqueInput = std::unique_ptr<AVFormatContext, AvFree<AVFormatContext, avformat_close_input>>;
using UniqueOutput = std::unique_ptr<AVFormatContext, OutputFree>;
using UniqueIo = std::unique_ptr<AVIOContext, AvioClose>;
using UniqueCodec = std::unique_ptr<AVCodecContext, AvFree<AVCodecContext, avcodec_free_context>>;
using UniqueFrame = std::unique_ptr<AVFrame, AvFree<AVFrame, av_frame_free>>;
using UniquePacket = std::unique_ptr<AVPacket, AvFree<AVPacket, av_packet_free>>;
using UniqueSws = std::unique_ptr<SwsContext, SwsFree>;

// An AVDictionary grows by address, so it gets a class instead of a unique_ptr.
class AvOptions {
 public:
  AvOptions() = default;
  ~AvOptions() { av_dict_free(&dict_); }
  AvOptions(const AvOptions&) = delete;
  AvOptions& operator=(const AvOptions&) = delete;
  void set(const std::string& key, const std::string& value) {
    av_dict_set(&dict_, key.c_str(), value.c_str(), 0);
  }
  AVDictionary** address() { return &dict_; }
  // The first option that nobody took, or "".
  std::string unused() const {
    const AVDictionaryEntry* entry = av_dict_get(dict_, "", nullptr, AV_DICT_IGNORE_SUFFIX);
    return entry == nullptr ? "" : entry->key;
  }

 private:
  AVDictionary* dict_ = nullptr;
};

inline std::string av_error_text(int code) {
  char text[AV_ERROR_MAX_STRING_SIZE] = {};
  av_strerror(code, text, sizeof(text));
  return text;
}

}  // namespace zoetrope::data
