// Opens the CUDA plugin, and chooses a device.
#include "model/device.h"

#include <dlfcn.h>

#include <filesystem>

#include <c10/core/impl/VirtualGuardImpl.h>

#include "base/error.h"

namespace zoetrope::model {
namespace {

constexpr const char* kPluginFile = "libzoetrope_cuda.so";

std::filesystem::path plugin_path() {
  const auto program = std::filesystem::canonical("/proc/self/exe");
  for (const auto& folder : {program.parent_path(), program.parent_path().parent_path()}) {
    if (std::filesystem::exists(folder / kPluginFile)) return folder / kPluginFile;
  }
  return {};
}

const kernels::CudaPlugin* open_plugin() {
  const std::filesystem::path path = plugin_path();
  if (path.empty()) return nullptr;
  // Never closed: LibTorch keeps what its CUDA half has registered.
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  ZOETROPE_CHECK(library != nullptr, "cannot open the CUDA plugin: ", dlerror());
  using Entry = const kernels::CudaPlugin* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, kernels::kPluginEntry));
  ZOETROPE_CHECK(entry != nullptr, path.string(), " is not a plugin of this program: ", dlerror());
  const kernels::CudaPlugin* plugin = entry();
  ZOETROPE_CHECK(plugin->version == kernels::kPluginVersion, path.string(), " is version ",
                 plugin->version, " of the plugin, this program wants ", kernels::kPluginVersion,
                 ": build both again");
  return plugin;
}

// Without CUDA's driver the plugin is of no use, and opening it takes a second.
bool has_driver() {
  return dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != nullptr;
}

}  // namespace

const kernels::CudaPlugin* cuda_plugin() {
  static const kernels::CudaPlugin* const kPlugin = open_plugin();
  return kPlugin;
}

at::Device select_device(const std::string& name, int local_rank) {
  if (name == "cpu" || (name == "auto" && !has_driver())) return at::kCPU;
  const kernels::CudaPlugin* plugin = cuda_plugin();
  const int devices = plugin != nullptr ? plugin->device_count() : 0;
  if (devices > 0) {
    const at::Device device(at::kCUDA, static_cast<c10::DeviceIndex>(local_rank % devices));
    c10::impl::VirtualGuardImpl(at::kCUDA).setDevice(device);
    return device;
  }
  ZOETROPE_CHECK_CONFIG(name != "cuda" || plugin != nullptr, "--device cuda: ", kPluginFile,
                        " is not beside this program; build it: tools/setup --cuda, then "
                        "cmake --preset cuda && cmake --build --preset cuda");
  ZOETROPE_CHECK_CONFIG(
      name != "cuda", "--device cuda: no CUDA device or driver on this machine; use --device cpu");
  return at::kCPU;
}

std::unique_ptr<launch::Communicator> device_communicator(launch::Communicator& world,
                                                          at::Device device) {
  if (!device.is_cuda()) return nullptr;
  return cuda_plugin()->make_communicator(world, device.index());
}

}  // namespace zoetrope::model
