// Tasks by name.
#include "train/task.h"

#include "base/error.h"
#include "train/dit_task.h"
#include "train/vae_task.h"

namespace zoetrope::train {

Json Task::stored_config(const std::function<model::TensorMap()>&) {
  return model_config();
}

std::unique_ptr<Task> make_task(const TrainConfig& config, launch::Mesh& mesh, at::Device device) {
  if (config.task == "dit") return std::make_unique<DitTask>(config, mesh, device);
  ZOETROPE_CHECK_CONFIG(config.validation.every_steps == 0, "validation.every_steps is ",
                        config.validation.every_steps, ": task ", config.task,
                        " has no held-out loss");
  ZOETROPE_CHECK_CONFIG(device.is_cpu(), "--device ", device.str(), ": task ", config.task,
                        " trains on CPUs only");
  if (config.task == "vae") return std::make_unique<VaeTask>(config, mesh);
  throw ConfigError(concat("task ", config.task, " is neither dit nor vae"));
}

}  // namespace zoetrope::train
