// The decoder process's main loop: answers VideoReader until the connection closes.
#pragma once

#include "data/decoder_socket.h"

namespace zoetrope::data {

// Requests: {"op": "probe" | "decode", ...} with the path as payload.
// Answers: {"info"}, {"frame"} with RGB bytes (one for each picture), {"done"}, {"skip"}.
// Returns when the other side closes; a file's failure is an answer, never an end.
void serve_decoder(DecoderSocket& socket);

}  // namespace zoetrope::data
