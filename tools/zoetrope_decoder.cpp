// The decoder process: VideoReader starts it, sends it requests over a socket, and kills it when it
// hangs. It shuts itself in before it looks at any file. Not meant to be run by hand.

#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include "data/decoder_sandbox.h"
#include "data/decoder_service.h"
#include "data/ffmpeg.h"

namespace {

int serve(int fd, std::int64_t memory_bytes, int parent_pid) {
  using namespace zoetrope::data;
  DecoderSocket socket(fd);
  try {
    enter_decoder_sandbox(memory_bytes, parent_pid);
  } catch (const std::exception& error) {
    socket.send({{"failed", error.what()}});
    return EXIT_FAILURE;
  }
  av_log_set_level(AV_LOG_QUIET);
  av_max_alloc(static_cast<std::size_t>(memory_bytes));
  socket.send({{"ready", true}});
  serve_decoder(socket);
  return EXIT_SUCCESS;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "zoetrope_decoder SOCKET MEMORY_BYTES PARENT_PID\n"
                 "Decodes videos for the other programs, which start it by themselves.\n";
    return argc == 2 && std::string(argv[1]) == "--help" ? 0 : 2;
  }
  try {
    return serve(std::stoi(argv[1]), std::stoll(argv[2]), std::stoi(argv[3]));
  } catch (const std::exception& error) {
    std::cerr << "zoetrope_decoder: " << error.what() << "\n";
    return EXIT_FAILURE;
  }
}
