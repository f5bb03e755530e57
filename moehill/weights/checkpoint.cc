// Implements checkpoint.h: finds the file or the index that a path means, and opens shards as they are
// needed.
#include "moehill/weights/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/base/strict_json.h"

namespace moehill {
namespace {

namespace fs = std::filesystem;

constexpr char kIndexName[] = "model.safetensors.index.json";
constexpr size_t kMaxIndex = 100'000'000;  // the same limit as for a header
constexpr char kIndexRemedy[] = "download the index anew";

// Returns the file of a folder: its index, or its only .safetensors file.
std::string file_in(const std::string& folder) {
  const fs::path index = fs::path(folder) / kIndexName;
  std::error_code error;
  if (fs::exists(index, error)) return index.string();
  std::vector<std::string> found;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".safetensors") found.push_back(at->path().string());
  }
  if (error)
    throw input_error("--weights " + folder, error.message(), "a folder that can be read",
                      "name another one");
  if (found.size() == 1) return found.front();
  throw input_error("--weights " + folder,
                    fmt::format("{} .safetensors files and no {}", found.size(), kIndexName),
                    "one file, or shards with their index",
                    found.empty() ? "name the folder of a downloaded model" : "name one of the files");
}

// A name in an index must name a file beside the index. Otherwise a downloaded index could make the program
// read any file. The file itself may be a link to anywhere: that is the user's choice, and the cache of
// Hugging Face consists of links.
void refuse_other_places(const std::string& what, const std::string& name) {
  if (!name.empty() && name.find('/') == std::string::npos && name != "." && name != "..") return;
  throw input_error(what, "shard " + quoted(name), "a file beside the index, without a folder", kIndexRemedy);
}

}  // namespace

Checkpoint::Checkpoint(const std::string& path) : path_(path) {
  std::error_code error;
  if (!fs::exists(path, error))
    throw input_error("--weights", quoted(path) + " (no such file)",
                      "a .safetensors file, or a folder of a model", "download it first");
  const std::string file = fs::is_directory(path, error) ? file_in(path) : path;
  if (fs::path(file).extension() == ".json") {
    read_index(file);
  } else {
    add_file(file);
  }
}

void Checkpoint::add_file(const std::string& path) {
  auto file = std::make_unique<SafetensorsFile>(path);
  for (const auto& [name, tensor] : file->tensors()) shard_of_.emplace(name, path);
  files_.emplace(path, std::move(file));
}

void Checkpoint::read_index(const std::string& path) {
  const MappedFile file(path);
  const std::string what = "--weights " + path;
  if (file.bytes().size() > kMaxIndex)
    throw input_error(what, fmt::format("{} bytes", file.bytes().size()),
                      fmt::format("at most {}", kMaxIndex), kIndexRemedy);
  const nlohmann::json index = parse_strict_json(
      {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, {what, kIndexRemedy});
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object())
    throw input_error(what, "no weight_map", "an object with the file of each tensor", kIndexRemedy);
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string())
      throw input_error(what, quoted(name) + " in no file", "its file in text", kIndexRemedy);
    refuse_other_places(what, shard.get<std::string>());
    shard_of_.emplace(name, (fs::path(path).parent_path() / shard.get<std::string>()).string());
  }
}

const StoredTensor& Checkpoint::tensor(const std::string& name) {
  const auto shard = shard_of_.find(name);
  if (shard == shard_of_.end())
    throw input_error("--weights " + path_, "no tensor " + quoted(name), "every tensor of the layer",
                      "download or write the model anew");
  std::unique_ptr<SafetensorsFile>& file = files_[shard->second];
  if (file == nullptr) file = std::make_unique<SafetensorsFile>(shard->second);
  const auto found = file->tensors().find(name);
  if (found == file->tensors().end())
    throw input_error("--weights " + shard->second, "no tensor " + quoted(name), "what the index says of it",
                      kIndexRemedy);
  return found->second;
}

void Checkpoint::visit_names(const std::string& prefix,
                             const std::function<void(const std::string&)>& visit) const {
  for (auto at = shard_of_.lower_bound(prefix); at != shard_of_.end() && at->first.starts_with(prefix); ++at)
    visit(at->first);
}

}  // namespace moehill
